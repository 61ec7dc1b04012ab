import { expected } from '../errors.js';

/** What a name of the hub says. */
export interface HubName {
  /** 'timm/resnet50.a1_in1k' */
  repo: string;
  /** Branch, tag or commit; undefined: the main branch. */
  revision: string | undefined;
  /** A file of the repository; undefined: its weights. */
  file: string | undefined;
}

const FORM = /^hf:([\w.-]+\/[\w.-]+)(?:@(refs\/(?:pr|convert)\/[^/@]+|[^/@]+))?(?:\/(.+))?$/;

export const isHubName = (name: unknown): name is string => typeof name === 'string' && name.startsWith('hf:');

/**
 * Reads `hf:ORG/NAME`, `hf:ORG/NAME@REVISION`, `hf:ORG/NAME/FILE` and both; a slash in a revision is written %2F.
 * @throws ERR_HUB_NAME
 */
export function parseHubName(name: string): HubName {
  const [, repo = '', revision, file] = FORM.exec(name) ?? [];
  if (!repo || /(^|\/)[.-]|--|\.\.|[.-](\/|$)/.test(repo))
    throw expected('ERR_HUB_NAME', "'hf:ORG/NAME', with or without @REVISION and /FILE,", 'a model of the hub', name);
  return {
    repo,
    revision: revision === undefined ? undefined : checkRevision(unescaped(revision)),
    file: file === undefined ? undefined : checkFile(file),
  };
}

function unescaped(revision: string): string {
  try {
    return decodeURIComponent(revision);
  } catch {
    return revision;
  }
}

/** @throws ERR_HUB_NAME */
export function checkRevision(revision: unknown): string {
  if (isInside(revision)) return revision;
  throw expected('ERR_HUB_NAME', 'a branch, a tag or a commit', 'the revision', revision);
}

/** @throws ERR_HUB_NAME */
export function checkFile(file: unknown): string {
  if (isInside(file)) return file;
  throw expected('ERR_HUB_NAME', 'the path of a file within the repository', 'the file', file);
}

/** A relative path that stays in its folder on any system: names come from users and from servers. */
export function isInside(name: unknown): name is string {
  if (typeof name !== 'string' || name.length > 1000 || /[\0-\x1f\\:*?"<>|\x7f]/.test(name)) return false;
  return name.split('/').every((segment) => segment !== '' && segment !== '.' && segment !== '..');
}
