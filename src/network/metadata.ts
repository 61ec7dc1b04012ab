import { expected, ThawError } from '../errors.js';
import type { GraphDescription } from '../graph/types.js';
import type { Preprocessing } from '../zoo/index.js';
import { checkGraph } from './check-graph.js';
import type { Network } from './network.js';
import type { HeadDescription, HeadKind } from './types.js';

/** Version of what this file writes under `thaw.network`. A reader refuses newer ones. */
export const FORMAT_VERSION = 1;

const VERSION_KEY = 'thaw.format';
const NETWORK_KEY = 'thaw.network';

/** What a saved network says about itself, beside its tensors. */
export interface SavedNetwork {
  name: string;
  architecture: { name: string; config: Record<string, unknown> } | null;
  /** The whole graph, so that a file stays readable when the way an architecture is built changes. */
  graph: GraphDescription;
  head: HeadDescription;
  labels: string[] | null;
  preprocessing: Preprocessing | null;
  layers: string[];
  input: { channels: number; height: number; width: number } | null;
  marks: { frozen: string[]; statistics: string[] };
  aliases: Record<string, string>;
}

/** Strings for a safetensors header. */
export function writeMetadata(net: Network): Record<string, string> {
  const { name, architecture, graph, head, preprocessing, input, marks, aliases } = net;
  const labels = net.labelsSource === 'index' || head.kind === 'regression' ? null : [...net.labels];
  const saved: SavedNetwork = {
    name,
    architecture,
    graph,
    head: { ...head },
    labels,
    preprocessing,
    layers: [...net.layers],
    input,
    marks,
    aliases: { ...aliases },
  };
  // Python's readers look for `format`: it says that the names and layouts are PyTorch's.
  return { format: 'pt', [VERSION_KEY]: String(FORMAT_VERSION), [NETWORK_KEY]: JSON.stringify(saved) };
}

const KIND_KEY = 'thaw.kind';
const LABELS_KEY = 'thaw.labels';
const PREPROCESSING_KEY = 'thaw.preprocessing';

/** Strings for a format that holds the graph in its own words: labels and preprocessing. */
export function writePortable(net: Network): Record<string, string> {
  const { preprocessing, head } = net;
  const names = head.kind === 'regression' ? head.targets : net.labelsSource === 'index' ? undefined : net.labels;
  return {
    [KIND_KEY]: head.kind,
    ...(names && { [LABELS_KEY]: JSON.stringify(names) }),
    ...(preprocessing && { [PREPROCESSING_KEY]: JSON.stringify(preprocessing) }),
  };
}

/** The reverse of `writePortable`. What does not fit is left out: the file need not be thaw's own. */
export function readPortable(
  metadata: Record<string, string>,
  outputs: number,
): { kind: HeadKind; labels: string[] | null; targets: string[] | null; preprocessing: Preprocessing | null } {
  const value = (key: string): unknown => {
    try {
      return JSON.parse(metadata[key] ?? 'null');
    } catch {
      return null;
    }
  };
  const [labels, preprocessing] = [value(LABELS_KEY), value(PREPROCESSING_KEY)];
  const kind = (['multi', 'regression'] as const).find((one) => one === metadata[KIND_KEY]) ?? 'single';
  const names = isStrings(labels) && labels.length === outputs ? labels : null;
  return {
    kind,
    labels: kind === 'regression' ? null : names,
    targets: kind === 'regression' ? names : null,
    preprocessing: isPreprocessing(preprocessing) ? { ...preprocessing, source: 'file' } : null,
  };
}

/**
 * What a file written by `save` says; null for any other file.
 * @throws ERR_FORMAT_VERSION written by a newer thaw; ERR_FORMAT not what `save` writes
 */
export function readMetadata(metadata: Record<string, string>, path: string): SavedNetwork | null {
  const version = metadata[VERSION_KEY];
  if (version === undefined) return null;
  if (!/^[1-9]\d{0,8}$/.test(version))
    throw expected('ERR_FORMAT', 'a whole number', `${VERSION_KEY} of '${path}'`, version);
  if (Number(version) > FORMAT_VERSION) {
    throw new ThawError(
      'ERR_FORMAT_VERSION',
      `expected format version ${FORMAT_VERSION} or older for '${path}', received ${version}: it was saved by a newer thaw; update thaw to read it`,
    );
  }
  return checkSaved(parse(metadata[NETWORK_KEY], path), path);
}

function parse(text: string | undefined, path: string): unknown {
  try {
    return JSON.parse(text ?? '');
  } catch (cause) {
    throw new ThawError('ERR_FORMAT', `expected JSON for ${NETWORK_KEY} of '${path}', received something else`, {
      cause,
    });
  }
}

/** Files are not trusted: what later code relies on is checked here. */
function checkSaved(value: unknown, path: string): SavedNetwork {
  const bad = (what: string, received: unknown): ThawError =>
    expected('ERR_FORMAT', what, `${NETWORK_KEY} of '${path}'`, received);
  if (!isObject(value)) throw bad('an object', value);
  const { name, architecture, graph, head, labels, preprocessing, layers, input, marks, aliases } = value;
  if (typeof name !== 'string') throw bad('a name', name);
  if (architecture !== null && !(isObject(architecture) && typeof architecture.name === 'string'))
    throw bad('an architecture', architecture);
  if (!isHead(head)) throw bad('a head', head);
  if (labels !== null && !isStrings(labels)) throw bad('labels', labels);
  if (labels && head.outputs > 0 && labels.length !== head.outputs)
    throw bad(`${head.outputs} labels`, `${labels.length}`);
  if (preprocessing !== null && !isPreprocessing(preprocessing)) throw bad('preprocessing', preprocessing);
  if (!isStrings(layers)) throw bad('a list of layers', layers);
  if (input !== null && !(isObject(input) && [input.channels, input.height, input.width].every(isCount)))
    throw bad('an input size', input);
  if (!isObject(marks) || !isStrings(marks.frozen) || !isStrings(marks.statistics)) throw bad('marks', marks);
  if (!isObject(aliases) || !isStrings(Object.values(aliases))) throw bad('aliases', aliases);
  checkGraph(graph, `'${path}'`);
  return value as unknown as SavedNetwork;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isCount = (value: unknown): boolean => Number.isInteger(value) && (value as number) >= 0;
const isStrings = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((item) => typeof item === 'string');
const isNumbers = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((item) => Number.isFinite(item));

function isHead(head: unknown): head is HeadDescription {
  if (!isObject(head) || !['single', 'multi', 'regression'].includes(head.kind as string)) return false;
  if (!isCount(head.outputs) || typeof head.classifier !== 'string' || typeof head.boundary !== 'string') return false;
  if (head.targets !== undefined && !(isStrings(head.targets) && head.targets.length === head.outputs)) return false;
  if (head.threshold !== undefined && !Number.isFinite(head.threshold)) return false;
  return (
    head.scaling === undefined ||
    (isObject(head.scaling) && isNumbers(head.scaling.mean) && isNumbers(head.scaling.std))
  );
}

function isPreprocessing(value: unknown): value is Preprocessing {
  if (!isObject(value)) return false;
  const size = (item: unknown): boolean =>
    isCount(item) || (isNumbers(item) && item.length === 2 && item.every(isCount));
  if (!size(value.resize) || (value.crop !== null && !size(value.crop))) return false;
  if (value.interpolation !== 'bilinear' && value.interpolation !== 'bicubic') return false;
  return isNumbers(value.mean) && isNumbers(value.std) && [1, 3, 4].includes(value.channels as number);
}
