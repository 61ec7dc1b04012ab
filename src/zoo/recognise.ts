import { auxiliaryHeads, build, marks } from './build.js';
import type { Architecture, Mark } from './types.js';

export interface Recognised {
  name: string;
  /** Rows of the classifier's weight; where the file has no fitting head, the architecture's usual number. */
  classes: number;
  /** Channels of the first convolution: 1, 3 or 4. */
  channels: number;
  /** The file has no weight that fits the classifier. */
  headMissing: boolean;
  /** What stands before every name of the network in the file: '', 'backbone.', 'module.model.', … */
  prefix: string;
  /** Present where the file has all tensors of the auxiliary heads, for as many classes (`Config.auxiliary`). */
  auxiliary?: true;
}

export interface Unrecognised {
  /** The nearest architectures, best first; empty where nothing is alike. */
  candidates: string[];
  /** For each candidate, what does not fit. */
  reasons: Record<string, string>;
}

type Shapes = ReadonlyMap<string, { readonly shape: readonly number[] }>;

/** What is compared: shapes by name, apart for the body and the head. */
interface Signature {
  name: string;
  classes: number;
  features: number;
  classifierWeight: string;
  /** Weight of the first convolution. */
  first: string;
  body: Map<string, number[]>;
  head: Map<string, number[]>;
  /** First segments of the body's names. */
  stages: Set<string>;
}

interface Match {
  signature: Signature;
  prefix: string;
  fitting: number;
  /** Sentences on body tensors that are missing, have another shape or do not belong; the head is no matter here. */
  faults: string[];
}

// Files older than PyTorch 0.4.1 have none, and it has no part in what a network answers.
const OPTIONAL = /(^|\.)num_batches_tracked$/;
const CHANNELS = [1, 3, 4];
const MAX_PREFIXES = 16;

function signature({ name, graph, classifier, classes, features }: Architecture): Signature {
  const tensors = [...graph.parameters, ...graph.states];
  const headName = classifier.split('.')[0]!;
  const isHead = (tensor: string): boolean => tensor.startsWith(`${headName}.`);
  const pick = (head: boolean): Map<string, number[]> =>
    new Map(tensors.filter((t) => isHead(t.name) === head && !OPTIONAL.test(t.name)).map((t) => [t.name, t.shape]));
  const body = pick(false);
  const stages = new Set([...body.keys()].map((tensor) => tensor.split('.')[0]!));
  const first = graph.parameters[0]!.name;
  return { name, classes, features, classifierWeight: `${classifier}.weight`, first, body, head: pick(true), stages };
}

/**
 * Tells an architecture by names and shapes alone. Free are the number of classes, the channels of the first
 * convolution (1, 3 or 4), a missing or foreign head, a prefix before all names, and tensors outside the body's stages.
 */
export function recognise(tensors: Shapes): Recognised | Unrecognised {
  const places = placesIn(tensors);
  // A body that fits has just its elements, so that one network is built, and more only for the sentence of what is nearest.
  const fitting = ofTheirSize(tensors, places);
  const found = compared(tensors, fitting).find(({ faults }) => faults.length === 0);
  return found ? describeMatch(tensors, found) : nearest(compared(tensors, places));
}

/** An architecture that a file may have, and what stands before its names there. */
interface Place {
  name: string;
  mark: Mark;
  prefix: string;
}

/** Wherever the file has the first convolution of an architecture. */
function placesIn(tensors: Shapes): Place[] {
  const names = [...tensors.keys()];
  const found = new Map<string, string[]>();
  return [...marks()].flatMap(([name, mark]) => {
    const before = found.get(mark.first) ?? prefixes(names, mark.first);
    found.set(mark.first, before);
    return before.map((prefix) => ({ name, mark, prefix }));
  });
}

/** The places where the file has as many elements of such a body as the mark says. */
function ofTheirSize(tensors: Shapes, places: Place[]): Place[] {
  const sums = new Map<string, number>();
  return places.filter(({ mark, prefix }) => {
    const key = `${mark.first} ${mark.body.source} ${prefix}`;
    const sum = sums.get(key) ?? elementsOf(tensors, mark, prefix);
    sums.set(key, sum);
    return sum === mark.elements;
  });
}

function elementsOf(tensors: Shapes, { first, body }: Mark, prefix: string): number {
  let sum = 0;
  for (const [full, { shape }] of tensors) {
    if (!full.startsWith(prefix)) continue;
    const name = full.slice(prefix.length);
    const counted = name !== first && body.test(name) && !OPTIONAL.test(name);
    if (counted) sum += shape.reduce((product, size) => product * size, 1);
  }
  return sum;
}

/** The architectures compared with the file, best first. */
function compared(tensors: Shapes, places: Place[]): Match[] {
  const signatures = new Map<string, Signature>();
  const matches = places.map(({ name, prefix }) => {
    const own = signatures.get(name) ?? signature(build(name));
    signatures.set(name, own);
    return compare(tensors, own, prefix);
  });
  return matches.sort(
    (a, b) => a.faults.length - b.faults.length || b.fitting - a.fitting || a.prefix.length - b.prefix.length,
  );
}

/** What may stand before the network's names: whatever stands before the first convolution's, the shortest first. */
function prefixes(names: string[], first: string): string[] {
  const found = names.filter((name) => name === first || name.endsWith(`.${first}`));
  const before = found.map((name) => name.slice(0, name.length - first.length));
  return before.sort((a, b) => a.length - b.length).slice(0, MAX_PREFIXES);
}

function compare(tensors: Shapes, signature: Signature, prefix: string): Match {
  const faults: string[] = [];
  let fitting = 0;
  for (const [name, shape] of signature.body) {
    const found = tensors.get(prefix + name)?.shape;
    if (!found) faults.push(`${name} is missing`);
    else if (fits(found, shape, name === signature.first)) fitting++;
    else faults.push(`${name}: expected [${shape.join(', ')}], received [${found.join(', ')}]`);
  }
  for (const full of tensors.keys()) {
    const name = full.slice(prefix.length);
    if (!full.startsWith(prefix) || signature.body.has(name) || OPTIONAL.test(name)) continue;
    // Another layer within the body makes another network, even where all the rest fits.
    if (signature.stages.has(name.split('.')[0]!)) faults.push(`${name} is not part of it`);
  }
  return { signature, prefix, fitting, faults };
}

function fits(found: readonly number[], shape: number[], first: boolean): boolean {
  if (found.length !== shape.length) return false;
  return shape.every((size, d) => found[d] === size || (first && d === 1 && CHANNELS.includes(found[d]!)));
}

function describeMatch(tensors: Shapes, { signature, prefix }: Match): Recognised {
  const { name, features, classifierWeight, first, head } = signature;
  const channels = tensors.get(prefix + first)!.shape[1]!;
  const weight = tensors.get(prefix + classifierWeight)?.shape;
  const rank = head.get(classifierWeight)!.length;
  const fitting = weight?.length === rank && weight[1] === features && weight.slice(2).every((size) => size === 1);
  const classes = fitting && weight[0]! > 0 ? weight[0]! : signature.classes;
  const auxiliary = hasAuxiliary(tensors, name, classes, prefix);
  return { name, classes, channels, headMissing: !fitting, prefix, ...(auxiliary && { auxiliary }) };
}

function hasAuxiliary(tensors: Shapes, name: string, classes: number, prefix: string): boolean {
  const modules = Object.keys(auxiliaryHeads(name));
  if (modules.length === 0) return false;
  const { graph } = build(name, { classes, auxiliary: true });
  const wanted = [...graph.parameters, ...graph.states].filter(
    (tensor) => modules.includes(tensor.name.split('.')[0]!) && !OPTIONAL.test(tensor.name),
  );
  return wanted.every(({ name: own, shape }) => {
    const found = tensors.get(prefix + own)?.shape;
    return found !== undefined && fits(found, shape, false);
  });
}

const SHOWN = 3;

function nearest(matches: Match[]): Unrecognised {
  const share = ({ fitting, faults }: Match): number => fitting / (fitting + faults.length);
  const best = new Map<string, Match>();
  for (const match of [...matches].sort((a, b) => share(b) - share(a))) {
    const known = best.has(match.signature.name);
    if (!known && match.fitting > 0 && best.size < SHOWN) best.set(match.signature.name, match);
  }
  const reasons = [...best].map(([name, match]) => [name, reason(match)]);
  return { candidates: [...best.keys()], reasons: Object.fromEntries(reasons) as Record<string, string> };
}

function reason({ fitting, faults }: Match): string {
  const shown = faults.slice(0, SHOWN).join('; ');
  const more = faults.length > SHOWN ? `; and ${faults.length - SHOWN} more` : '';
  return `${fitting} tensors fit, ${faults.length} do not: ${shown}${more}`;
}
