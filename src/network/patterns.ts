import { describe, ThawError } from '../errors.js';
import type { NamePattern } from './types.js';

export interface Named {
  name: string;
  shape: number[];
}

/**
 * Is `pattern` the beginning of `name` by whole dotted segments? `*` stands for any characters, dots included.
 * 'layer1' matches 'layer1' and 'layer1.0.conv1.weight', not 'layer10'; 'layer*.bn1' matches 'layer1.0.bn1.bias'.
 */
export function matchesName(pattern: string, name: string): boolean {
  if (!pattern.includes('*')) return name === pattern || name.startsWith(`${pattern}.`);
  return globs(pattern).test(name);
}

const compiled = new Map<string, RegExp>();

function globs(pattern: string): RegExp {
  let found = compiled.get(pattern);
  if (!found) {
    const source = pattern.split(/\*+/).map((part) => part.replace(/[\\^$.|?+()[\]{}]/g, '\\$&'));
    found = new RegExp(`^${source.join('.*')}(?:\\.|$)`);
    if (compiled.size > 100) compiled.clear();
    compiled.set(pattern, found);
  }
  return found;
}

/** A regular expression without its memory of the last match. */
export function tests(pattern: RegExp, name: string): boolean {
  pattern.lastIndex = 0;
  return pattern.test(name);
}

/**
 * The tensors that a pattern names.
 * @throws ERR_NO_MATCH when a pattern, or one in a list of them, names none; ERR_PATTERN when it is not a pattern
 */
export function select(pattern: NamePattern, tensors: readonly Named[], what = 'a tensor'): Set<string> {
  if (Array.isArray(pattern)) return new Set(pattern.flatMap((one: NamePattern) => [...select(one, tensors, what)]));
  const test = predicate(pattern);
  const found = tensors.filter(test).map((tensor) => tensor.name);
  if (found.length === 0)
    throw noMatch(
      pattern,
      tensors.map((tensor) => tensor.name),
      what,
    );
  return new Set(found);
}

function predicate(pattern: NamePattern): (tensor: Named) => boolean {
  if (typeof pattern === 'string') return ({ name }) => matchesName(pattern, name);
  if (pattern instanceof RegExp) return ({ name }) => tests(pattern, name);
  if (typeof pattern === 'function') return ({ name, shape }) => pattern(name, [...shape]);
  throw new ThawError(
    'ERR_PATTERN',
    `expected a name, a regular expression, a function, a list of these, { until } or { from } for pattern, received ${describe(pattern)}`,
  );
}

/** ERR_NO_MATCH with the names that come nearest. */
export function noMatch(pattern: unknown, names: readonly string[], what: string): ThawError {
  const written = pattern instanceof RegExp ? String(pattern) : describe(pattern);
  const near = typeof pattern === 'string' ? nearest(pattern, names) : [];
  const hint = near.length > 0 ? `; the nearest names are ${near.map((name) => `'${name}'`).join(', ')}` : '';
  return new ThawError(
    'ERR_NO_MATCH',
    `expected the name of ${what}, received ${written}, which matches nothing${hint}`,
  );
}

/** Up to three names, or beginnings of names with as many segments, by edit distance. */
export function nearest(wanted: string, names: readonly string[]): string[] {
  const depth = wanted.split('.').length;
  const candidates = new Set(names.map((name) => name.split('.').slice(0, depth).join('.')));
  return [...candidates]
    .map((name) => ({ name, distance: editDistance(wanted, name) }))
    .filter(({ name, distance }) => distance <= Math.max(3, name.length / 2))
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 3)
    .map(({ name }) => name);
}

/** Levenshtein's distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(swap, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
