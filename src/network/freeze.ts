import { expected } from '../errors.js';
import type { GraphDescription, NodeDescription } from '../graph/types.js';
import { matchesName, noMatch, select, tests } from './patterns.js';
import type { BatchNormMode, FreezeOptions, FreezePattern, LayerRange, NamePattern } from './types.js';

interface MarkedTensor {
  name: string;
  shape: number[];
  state: boolean;
  /** Positions of the first and last node that read it; where none does: before everything. */
  first: number;
  last: number;
}

interface BatchNorm {
  node: string;
  affine: string[];
  states: string[];
}

/**
 * Which tensors are frozen and what each batch norm does. Marks are names: they outlive edits of the graph, and the
 * optimizer's state, also kept by name, outlives changes of the marks.
 */
export class Marks {
  /** Grows with every change. */
  version = 0;
  readonly #graph: GraphDescription;
  readonly #tensors: MarkedTensor[];
  readonly #norms: BatchNorm[];
  readonly #frozen: Set<string>;
  /** Batch norms (by node) in 'statistics' mode; their scale and shift are frozen. */
  readonly #statistics: Set<string>;

  constructor(graph: GraphDescription, frozen: Iterable<string> = [], statistics: Iterable<string> = []) {
    this.#graph = graph;
    this.#tensors = marked(graph);
    this.#norms = graph.nodes.filter((node) => node.op === 'batch_norm').map(batchNorm);
    const names = new Set(this.#tensors.map((tensor) => tensor.name));
    this.#frozen = new Set([...frozen].filter((name) => names.has(name)));
    const norms = new Set(this.#norms.map((norm) => norm.node));
    this.#statistics = new Set([...statistics].filter((node) => norms.has(node)));
  }

  /** The same marks on an edited graph; the tensors in `fresh` are new and trainable. */
  onto(graph: GraphDescription, fresh: readonly { name: string }[]): Marks {
    const made = new Set(fresh.map((tensor) => tensor.name));
    const kept = [...this.#frozen].filter((name) => !made.has(name));
    const next = new Marks(graph, kept, this.#statistics);
    next.version = this.version + 1;
    return next;
  }

  /** Other marks on the same graph. */
  restored(frozen: Iterable<string>, statistics: Iterable<string>): Marks {
    const next = new Marks(this.#graph, frozen, statistics);
    next.version = this.version + 1;
    return next;
  }

  /** Freezes or unfreezes what the pattern names; all without one. */
  apply(verb: 'freeze' | 'unfreeze', pattern: FreezePattern | undefined, options: FreezeOptions): void {
    const mode = options.batchNorm ?? (verb === 'freeze' ? 'frozen' : 'train');
    if (mode !== 'frozen' && mode !== 'statistics' && mode !== 'train') {
      throw expected('ERR_OPTION', "'frozen', 'statistics' or 'train'", 'batchNorm', mode);
    }
    const names = this.#select(pattern);
    const inNorms = new Set(this.#norms.flatMap((norm) => [...norm.affine, ...norm.states]));
    for (const name of names) this.#mark(name, inNorms.has(name) ? mode !== 'train' : verb === 'freeze');
    for (const norm of this.#norms) {
      if (![...norm.affine, ...norm.states].some((name) => names.has(name))) continue;
      if (mode === 'statistics') this.#statistics.add(norm.node);
      else this.#statistics.delete(norm.node);
    }
    this.version++;
  }

  #mark(name: string, frozen: boolean): void {
    if (frozen) this.#frozen.add(name);
    else this.#frozen.delete(name);
  }

  /** Parameters that train, in graph order. */
  trainable(): string[] {
    return this.#tensors
      .filter((tensor) => !tensor.state && !this.#frozen.has(tensor.name))
      .map((tensor) => tensor.name);
  }

  /** Parameters and states that stay bit for bit, in graph order. */
  frozenTensors(): string[] {
    const resting = new Set(this.#norms.filter((norm) => this.#mode(norm) === 'frozen').flatMap((norm) => norm.states));
    // Other states (the hidden state of a recurrent layer) are carried along whether or not weights are frozen.
    const stays = ({ name, state }: MarkedTensor): boolean => (state ? resting.has(name) : this.#frozen.has(name));
    return this.#tensors.filter(stays).map((tensor) => tensor.name);
  }

  batchNormModes(): Record<string, BatchNormMode> {
    return Object.fromEntries(this.#norms.map((norm) => [norm.node, this.#mode(norm)]));
  }

  /**
   * A batch norm is frozen where its running statistics are marked, or all of its scale and shift (whoever freezes
   * 'bn1.weight' and 'bn1.bias' by name means the layer).
   */
  #mode(norm: BatchNorm): BatchNormMode {
    if (this.#statistics.has(norm.node)) return 'statistics';
    const stopped = norm.states.some((name) => this.#frozen.has(name));
    const fixed = norm.affine.length > 0 && norm.affine.every((name) => this.#frozen.has(name));
    return stopped || fixed ? 'frozen' : 'train';
  }

  list(): { name: string; shape: number[]; trainable: boolean; state: boolean }[] {
    return this.#tensors.map(({ name, shape, state }) => ({
      name,
      shape: [...shape],
      trainable: !state && !this.#frozen.has(name),
      state,
    }));
  }

  toJSON(): { frozen: string[]; statistics: string[] } {
    const frozen = this.#tensors.map((tensor) => tensor.name).filter((name) => this.#frozen.has(name));
    return { frozen, statistics: [...this.#statistics] };
  }

  #select(pattern: FreezePattern | undefined): Set<string> {
    if (pattern === undefined) return new Set(this.#tensors.map((tensor) => tensor.name));
    if (!isRange(pattern)) return select(pattern, this.#tensors);
    const from = pattern.from === undefined ? -1 : this.#place(pattern.from, 'first');
    const until = pattern.until === undefined ? Infinity : this.#place(pattern.until, 'last');
    const inside = this.#tensors.filter((tensor) => tensor.last >= from && tensor.first <= until);
    if (inside.length === 0) throw noMatch(pattern.from ?? pattern.until, [], 'layers with tensors');
    return new Set(inside.map((tensor) => tensor.name));
  }

  /** Position of the first or last node of a layer: one that bears the name, or reads a tensor that does. */
  #place(pattern: string | RegExp, end: 'first' | 'last'): number {
    const is = (name: string): boolean =>
      typeof pattern === 'string' ? matchesName(pattern, name) : tests(pattern, name);
    const nodes = this.#graph.nodes.flatMap((node, i) => (is(node.name) ? [i] : []));
    const readers = this.#tensors.filter((tensor) => is(tensor.name)).flatMap((tensor) => [tensor.first, tensor.last]);
    const places = [...nodes, ...readers];
    const names = [...this.#graph.nodes, ...this.#tensors].map(({ name }) => name);
    if (places.length === 0) throw noMatch(pattern, names, 'a layer');
    return end === 'first' ? Math.min(...places) : Math.max(...places);
  }
}

function isRange(pattern: FreezePattern): pattern is LayerRange {
  if (typeof pattern !== 'object' || pattern === null || Array.isArray(pattern) || pattern instanceof RegExp)
    return false;
  const keys = Object.keys(pattern as NamePattern & object);
  if (keys.length > 0 && keys.every((key) => key === 'until' || key === 'from')) return true;
  throw expected('ERR_PATTERN', 'until, from or both', 'a range of layers', keys);
}

function marked(graph: GraphDescription): MarkedTensor[] {
  const places = new Map<string, { first: number; last: number }>();
  graph.nodes.forEach((node, i) => {
    for (const input of node.inputs) {
      if (input !== null) places.set(input, { first: places.get(input)?.first ?? i, last: i });
    }
  });
  const tensor = (state: boolean) => (declared: { name: string; shape: number[] }) => ({
    name: declared.name,
    shape: declared.shape,
    state,
    ...(places.get(declared.name) ?? { first: -1, last: -1 }),
  });
  const all = [...graph.parameters.map(tensor(false)), ...graph.states.map(tensor(true))];
  return all.sort((a, b) => a.first - b.first);
}

function batchNorm(node: NodeDescription): BatchNorm {
  const present = (names: (string | null | undefined)[]): string[] => names.filter((name) => typeof name === 'string');
  return { node: node.name, affine: present(node.inputs.slice(1, 3)), states: present(node.inputs.slice(3, 6)) };
}
