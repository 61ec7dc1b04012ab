import { ThawError } from '../errors.js';
import type { Checkpoint, StorageDType, TensorEntry } from '../formats/types.js';
import type { GraphDescription, GraphDType, ParameterDescription } from '../graph/types.js';
import { tensors } from './graph-edit.js';
import { select } from './patterns.js';
import { LoadReport } from './report.js';
import type { NamePattern } from './types.js';

/** Which tensor of a file goes where. */
export interface Matching {
  /** Name in the network → entry of the file. */
  entries: Map<string, TensorEntry>;
  initialised: ParameterDescription[];
  report: LoadReport;
  /** Other names of the file for tensors of the network: alias → name. */
  aliases: Record<string, string>;
}

export interface MatchOptions {
  /** What all names of the file begin with ('model.'). */
  prefix: string;
  /** Tensors that may be missing from the file: a head's. */
  optional: ReadonlySet<string>;
  drop: NamePattern | undefined;
}

const STORED: Readonly<Record<GraphDType, readonly StorageDType[]>> = {
  f32: ['F64', 'F32', 'F16', 'BF16'],
  bf16: ['F64', 'F32', 'F16', 'BF16'],
  i64: ['I64'],
  i32: ['I32', 'I16', 'I8', 'U8'],
  bool: ['BOOL'],
};

/** Collected while tensors are compared; what is left in `missing`, `extra` and `wrong` is an error. */
interface Findings extends Matching {
  missing: ParameterDescription[];
  extra: TensorEntry[];
  wrong: string[];
}

/**
 * Compares a file with a graph. What does not fit and was not asked to be dropped is an error.
 * @throws ERR_LOAD_MISMATCH, ERR_NO_MATCH
 */
export function matchTensors(file: Checkpoint, graph: GraphDescription, options: MatchOptions): Matching {
  const named = new Map([...file.tensors].map(([name, entry]) => [stripped(name, options.prefix), entry]));
  const declared = new Map(tensors(graph).map((tensor) => [tensor.name, tensor]));
  const all = [...declared.values(), ...[...named].map(([name, { shape }]) => ({ name, shape }))];
  const asked = options.drop === undefined ? new Set<string>() : select(options.drop, all);
  const found: Findings = {
    entries: new Map(),
    initialised: [],
    report: new LoadReport(),
    aliases: {},
    missing: [],
    extra: [],
    wrong: [],
  };
  const counters = batchCounters(graph);
  for (const tensor of declared.values())
    place(found, tensor, named.get(tensor.name), asked, options.optional, counters);
  for (const [name, entry] of named) if (!declared.has(name)) leave(found, name, entry, file, asked, options.prefix);
  if (found.missing.length + found.extra.length + found.wrong.length > 0) throw mismatch(file.path, found);
  return found;
}

const stripped = (name: string, prefix: string): string => (name.startsWith(prefix) ? name.slice(prefix.length) : name);

/** Counters of batches, which no inference reads: PyTorch before 0.4.1 did not have them. */
function batchCounters(graph: GraphDescription): Set<string> {
  const counters = graph.nodes.filter(({ op }) => op === 'batch_norm').map(({ inputs }) => inputs[5]);
  return new Set(counters.filter((name) => typeof name === 'string'));
}

function place(
  found: Findings,
  tensor: ParameterDescription,
  entry: TensorEntry | undefined,
  asked: ReadonlySet<string>,
  head: ReadonlySet<string>,
  counters: ReadonlySet<string>,
): void {
  const { name, shape } = tensor;
  const initialise = (note: string): void => {
    found.initialised.push(tensor);
    found.report.initialised.push({ name, expected: shape, note });
  };
  if (!entry) {
    if (asked.has(name)) return initialise('as asked');
    if (head.has(name)) return initialise('the file has no head');
    if (counters.has(name)) return initialise('a counter that old files do not have');
    return void found.missing.push(tensor);
  }
  const fits = entry.shape.length === shape.length && entry.shape.every((size, i) => size === shape[i]);
  if (asked.has(name)) {
    if (fits) found.report.dropped.push({ name, received: entry.shape, note: 'as asked' });
    else found.report.mismatched.push({ name, expected: shape, received: entry.shape, note: 'dropped as asked' });
    return initialise('as asked');
  }
  if (!fits) return void found.wrong.push(`${line(name, shape)}, received [${entry.shape.join(', ')}]`);
  if (!STORED[tensor.dtype].includes(entry.dtype))
    return void found.wrong.push(`${name} in ${tensor.dtype}, received ${entry.dtype}`);
  found.entries.set(name, entry);
  found.report.loaded.push({ name, expected: shape, received: entry.shape });
}

/** A tensor of the file that the network has no place for. */
function leave(
  found: Findings,
  name: string,
  entry: TensorEntry,
  file: Checkpoint,
  asked: ReadonlySet<string>,
  prefix: string,
): void {
  const original = file.aliases.get(entry.name);
  const target = original === undefined ? undefined : stripped(original, prefix);
  if (target !== undefined && found.entries.has(target)) {
    found.aliases[name] = target;
    found.report.loaded.push({ name, received: entry.shape, note: `the same tensor as '${target}'` });
  } else if (asked.has(name)) found.report.dropped.push({ name, received: entry.shape, note: 'as asked' });
  else found.extra.push(entry);
}

const line = (name: string, shape: readonly number[]): string => `${name} [${shape.join(', ')}]`;

function mismatch(path: string, { missing, extra, wrong }: Findings): ThawError {
  const parts = [
    listed('wrong shape or type', wrong),
    listed(
      'missing',
      missing.map(({ name, shape }) => line(name, shape)),
    ),
    listed(
      'without a place in the network',
      extra.map(({ name, shape }) => line(name, shape)),
    ),
  ].filter(Boolean);
  return new ThawError(
    'ERR_LOAD_MISMATCH',
    `expected every tensor of '${path}' and of the network to fit, received ${parts.join('; ')}. What shall be left out can be named with \`drop\``,
  );
}

function listed(what: string, items: string[]): string {
  if (items.length === 0) return '';
  const more = items.length > 8 ? ` and ${items.length - 8} more` : '';
  return `${items.length} ${what}: ${items.slice(0, 8).join(', ')}${more}`;
}
