import { expected } from '../errors.js';

/**
 * Labels as given by a user: strings that are not empty, one for each of `outputs` where that is known. ImageNet's own list
 * has two cranes, so equal names are allowed.
 * @throws ERR_LABELS
 */
export function checkLabels(labels: unknown, outputs?: number, what = 'labels'): string[] {
  if (!Array.isArray(labels) || labels.length === 0) throw expected('ERR_LABELS', 'a list of names', what, labels);
  const bad = labels.find((label) => typeof label !== 'string' || label === '');
  if (bad !== undefined) throw expected('ERR_LABELS', 'names that are not empty', what, bad);
  if (outputs && labels.length !== outputs) {
    throw expected('ERR_LABELS', `${outputs} names, one for each output`, what, `${labels.length}`);
  }
  return [...(labels as string[])];
}

/** Names of a new head's outputs, which must also differ. @throws ERR_LABELS */
export function checkNewLabels(labels: unknown, what: string): string[] {
  const names = checkLabels(labels, undefined, what);
  const seen = new Set<string>();
  for (const name of names) {
    if (seen.has(name)) throw expected('ERR_LABELS', 'different names', what, name);
    seen.add(name);
  }
  return names;
}
