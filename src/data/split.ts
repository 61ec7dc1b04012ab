import { createHash } from 'node:crypto';

import { expected } from '../errors.js';
import { compareCodePoints } from './names.js';

/** A class with fewer pictures gives none of them to validation. */
export const SMALLEST_SPLIT = 5;

/** Of what a stratified split is made: a name that does not change between machines, and the group it is drawn from. */
export interface Splittable {
  /** Path relative to the data, with forward slashes. */
  key: string;
  /** Its class (single label), its set of labels (multi label), or '' (regression). */
  group: string;
}

/** Sorts by a hash of seed and name: the draw of a picture does not depend on which others there are. */
function drawOrder<T extends Splittable>(items: readonly T[], seed: number): T[] {
  const draw = (item: T): string => createHash('sha256').update(`${seed} ${item.key}`).digest('hex');
  return items
    .map((item) => ({ item, drawn: draw(item) }))
    .sort((a, b) => compareCodePoints(a.drawn, b.drawn))
    .map(({ item }) => item);
}

function groups<T extends Splittable>(items: readonly T[]): Map<string, T[]> {
  const result = new Map<string, T[]>();
  for (const item of items) {
    const members = result.get(item.group);
    if (members) members.push(item);
    else result.set(item.group, [item]);
  }
  return result;
}

/**
 * Draws `share` of each group with at least five members (rounded, at least one, never all) for validation.
 * @returns the items for validation, and the groups that are too small
 */
export function stratifiedSplit<T extends Splittable>(
  items: readonly T[],
  share: number,
  seed: number,
): { validation: Set<T>; small: string[] } {
  if (!(share >= 0 && share < 1)) throw expected('ERR_OPTION', 'a share from 0 to below 1', 'validation', share);
  const validation = new Set<T>();
  const small: string[] = [];
  if (share === 0) return { validation, small };
  for (const [group, members] of groups(items)) {
    if (members.length < SMALLEST_SPLIT) {
      small.push(group);
      continue;
    }
    const count = Math.min(Math.max(Math.round(members.length * share), 1), members.length - 1);
    drawOrder(members, seed)
      .slice(0, count)
      .forEach((item) => validation.add(item));
  }
  return { validation, small };
}
