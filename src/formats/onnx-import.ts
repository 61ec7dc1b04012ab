/**
 * The graph of an ONNX file as a graph of thaw's. Nodes on known numbers (shapes, axes, limits) are computed here and
 * leave nothing behind; every other node becomes operators of the catalogue by the rules of onnx-rules*.ts.
 */
import { ThawError } from '../errors.js';
import { GraphBuilder } from '../graph/builder.js';
import type { Attribute, GraphDescription } from '../graph/types.js';
import { fault } from './fault.js';
import { FOLDS } from './onnx-fold.js';
import type { OnnxModel, OnnxNode } from './onnx-model.js';
import { dotted, layerOfNode } from './onnx-names.js';
import { RULES } from './onnx-rules.js';
import type { Dim } from './onnx-shape.js';
import { ELEMENT_BYTES, elements } from './types.js';
import { withoutSoftmax } from './scores.js';
import type { FileNetwork, OpenOptions, TensorEntry } from './types.js';

/** The opsets whose operators are read. Newer files are tried: most operators stay as they are. */
const OLDEST = 7;
/** Bytes of all tensors that do not lie in the file as they are. */
const MAX_MADE = 1 << 26;

/** Numbers known at import: a tensor of the file, or computed from shapes (then dimensions may be symbols; null: unknown). */
export interface Known {
  kind: 'known';
  name: string;
  shape: number[];
  numbers?: (Dim | null)[] | undefined;
  entry?: TensorEntry | undefined;
}

/** What the network computes. */
export interface Computed {
  kind: 'computed';
  name: string;
  shape: Dim[];
}

export type Value = Known | Computed;

/**
 * @param inputSize height and width of the pictures, where the file leaves them open
 * @throws ERR_ONNX, ERR_ONNX_OPERATOR, ERR_INPUT_SIZE
 */
export function importOnnx(model: OnnxModel, inputSize: OpenOptions['inputSize']): FileNetwork {
  return new Importer(model, inputSize).run();
}

export class Importer {
  readonly g = new GraphBuilder();
  readonly tensors = new Map<string, TensorEntry>();
  readonly notes: string[] = [];
  readonly values = new Map<string, Value>();
  /** The batch that the file was made for, where it names one: inputs of thaw's take any. */
  batch: number | undefined;
  /** An input leaves the size of pictures open. */
  open = false;
  #fresh = 0;
  /** Names given, and the number that the next of that name gets. */
  readonly #taken = new Map<string, number>();
  #made = 0;
  readonly #declared = new Map<string, string>();
  readonly #readers = new Map<string, OnnxNode[]>();
  readonly #done = new Set<OnnxNode>();

  constructor(
    readonly model: OnnxModel,
    readonly inputSize: OpenOptions['inputSize'],
  ) {}

  run(): FileNetwork {
    const { model } = this;
    if (model.opset < OLDEST) throw this.fail(`opset ${OLDEST} or newer`, 'model', `opset ${model.opset}`);
    for (const [name, { entry, numbers }] of model.constants)
      this.values.set(name, { kind: 'known', name, shape: entry.shape, numbers, entry });
    const live = this.#live();
    for (const node of live)
      for (const input of new Set(node.inputs)) {
        const readers = this.#readers.get(input);
        if (readers) readers.push(node);
        else this.#readers.set(input, [node]);
      }
    for (const input of model.inputs) this.#input(input);
    for (const node of live) if (!this.#done.has(node)) this.#node(node);
    const outputs = this.#outputs();
    const graph = used(this.#scores(this.g.build(outputs)));
    const names = new Set([...graph.parameters, ...graph.states].map(({ name }) => name));
    const tensors = new Map([...this.tensors].filter(([name]) => names.has(name)));
    return { name: 'onnx', graph, tensors, notes: this.notes };
  }

  #scores(graph: GraphDescription): GraphDescription {
    const scores = withoutSoftmax(graph);
    for (const name of scores?.removed ?? [])
      this.notes.push(
        `the Softmax at the end ('${name}') is left out: outputs are scores, and predict makes probabilities of them`,
      );
    return scores?.graph ?? graph;
  }

  fail(what: string, subject: string, received: unknown): ThawError {
    return fault('ERR_ONNX', what, `${subject} of '${this.model.path}'`, received);
  }

  /** Nodes that the outputs depend on. */
  #live(): OnnxNode[] {
    const wanted = new Set(this.model.outputs);
    const live: OnnxNode[] = [];
    for (const node of [...this.model.nodes].reverse()) {
      if (!node.outputs.some((output) => output !== '' && wanted.has(output))) continue;
      live.push(node);
      for (const input of node.inputs) wanted.add(input);
    }
    return live.reverse();
  }

  #input({ name, type, shape }: OnnxModel['inputs'][number]): void {
    if (this.values.has(name) || !this.#readers.has(name)) return;
    if (type !== 1 || !shape) throw this.fail('f32 and a shape', `input '${name}'`, `type ${type}, shape ${shape}`);
    const dims = shape.map((size, i): Dim => {
      if (i === 0) return 'N';
      if (typeof size === 'number' && size > 0) return size;
      const given = shape.length === 4 && i > 1 ? this.inputSize?.[i - 2] : undefined;
      if (given !== undefined) return given;
      this.open ||= i > 1;
      return (typeof size === 'string' && /^\w+$/.test(size) && size !== 'N' && size) || this.unknown();
    });
    if (typeof shape[0] === 'number' && shape[0] > 0) this.batch = shape[0];
    // Symbols that nobody named read as height and width.
    const declared = dims.map((dim, i) => (String(dim).startsWith('?') ? `${'NCHW'[i] ?? 'D'}${i < 4 ? '' : i}` : dim));
    const given = this.fresh(dotted(name) || 'input');
    this.g.input(given, 'f32', declared);
    this.values.set(name, { kind: 'computed', name: given, shape: declared });
  }

  #node(node: OnnxNode): void {
    const call = new Call(this, node);
    const standard = node.domain === '' || node.domain === 'ai.onnx';
    const operands = node.inputs.map((name) => (name === '' ? undefined : this.value(name, node)));
    if (standard && Object.hasOwn(FOLDS, node.op)) {
      const folded = FOLDS[node.op]!(call, operands);
      if (folded) return void this.values.set(node.outputs[0] ?? '', { ...folded, name: node.outputs[0] ?? '' });
    }
    if (!standard || !Object.hasOwn(RULES, node.op)) throw call.lacking('');
    RULES[node.op]!(call);
  }

  value(name: string, node: OnnxNode): Value {
    const found = this.values.get(name);
    if (!found) throw this.fail('an earlier value', `node '${node.name}' (${node.op})`, `'${name}'`);
    return found;
  }

  #outputs(): string[] {
    const outputs = this.model.outputs.map((name) => {
      const value = this.values.get(name);
      if (value?.kind !== 'computed') throw this.fail('a computed value', `output '${name}'`, 'none');
      return value.name;
    });
    if (outputs.length === 0) throw this.fail('an output', 'graph', 'none');
    return outputs;
  }

  /** The only node that reads a value, where it is no output of the graph. */
  onlyReader(value: string): OnnxNode | undefined {
    const readers = this.#readers.get(value) ?? [];
    return readers.length === 1 && !this.model.outputs.includes(value) ? readers[0] : undefined;
  }

  /** This node's work has been done with another's. */
  skip(node: OnnxNode): void {
    this.#done.add(node);
  }

  unknown(): string {
    return `?${++this.#fresh}`;
  }

  /** A name that nothing else bears. */
  fresh(wanted: string): string {
    let name = wanted;
    let next = this.#taken.get(wanted) ?? 2;
    for (; this.#taken.has(name); next++) name = `${wanted}_${next}`;
    if (name !== wanted) this.#taken.set(wanted, next);
    this.#taken.set(name, 2);
    return name;
  }

  /** A parameter, or a tensor that never trains, which holds `known`. The same one again for the same form of it. */
  tensor(wanted: string, known: Known, kind: 'parameter' | 'state', form = ''): string {
    const key = `${kind} ${form} ${known.shape.join()} ${known.name}`;
    const declared = this.#declared.get(key);
    if (known.name !== '' && declared !== undefined) return declared;
    const name = this.fresh(wanted);
    const { entry, shape } = known;
    if (!entry || !['F64', 'F32', 'F16', 'BF16'].includes(entry.dtype))
      throw this.fail('floating-point numbers', `tensor '${known.name}'`, entry?.dtype ?? 'a shape');
    if (entry.source instanceof Uint8Array) this.#made += entry.source.length;
    if (this.#made > MAX_MADE) throw this.fail(`at most ${MAX_MADE} bytes`, 'tensors computed', 'more');
    this.g[kind](name, shape);
    this.tensors.set(name, { ...entry, name, shape });
    this.#declared.set(key, name);
    return name;
  }
}

/** Without what no output needs: what a pattern of several nodes has taken the place of. */
function used(graph: GraphDescription): GraphDescription {
  const wanted = new Set<string | null>(graph.outputs);
  const kept = [...graph.nodes].reverse().filter((node) => {
    if (wanted.has(node.name)) for (const input of node.inputs) wanted.add(input);
    return wanted.has(node.name);
  });
  const { parameters, states } = graph;
  return {
    ...graph,
    parameters: parameters.filter(({ name }) => wanted.has(name)),
    states: states.filter(({ name }) => wanted.has(name)),
    nodes: kept.reverse(),
  };
}

/** One node while its rule runs. */
export class Call {
  #layer: string | undefined;
  #emitted = 0;

  constructor(
    readonly importer: Importer,
    readonly node: OnnxNode,
  ) {}

  get opset(): number {
    return this.importer.model.opset;
  }

  get where(): string {
    return `node '${this.node.name || this.node.outputs[0]}' of '${this.importer.model.path}'`;
  }

  /** ERR_ONNX_OPERATOR. */
  lacking(why: string): ThawError {
    const { op, domain } = this.node;
    const full = domain === '' || domain === 'ai.onnx' ? op : `${domain}.${op}`;
    return fault(
      'ERR_ONNX_OPERATOR',
      'an operator that thaw has',
      this.where,
      `${full} (opset ${this.opset})${why && `: ${why}`}`,
    );
  }

  int(name: string, usual: number): number {
    return this.node.attributes.get(name)?.int ?? usual;
  }

  float(name: string, usual: number): number {
    return this.node.attributes.get(name)?.float ?? usual;
  }

  string(name: string, usual: string): string {
    return this.node.attributes.get(name)?.string ?? usual;
  }

  ints(name: string): number[] | undefined {
    return this.node.attributes.get(name)?.ints;
  }

  has(i: number): boolean {
    return (this.node.inputs[i] ?? '') !== '';
  }

  value(i: number): Value {
    if (!this.has(i)) throw this.importer.fail(`operand ${i}`, `node '${this.node.name}' (${this.node.op})`, 'none');
    return this.importer.value(this.node.inputs[i]!, this.node);
  }

  /** Operand i, where it is known at import. */
  known(i: number): Known | undefined {
    const value = this.has(i) ? this.value(i) : undefined;
    return value?.kind === 'known' ? value : undefined;
  }

  /** Numbers of operand i; undefined where it is left out. */
  numbers(i: number, what: string): number[] | undefined {
    if (!this.has(i)) return undefined;
    const numbers = this.known(i)?.numbers;
    if (!numbers || numbers.some((n) => typeof n !== 'number')) throw this.lacking(`${what} that depends on the input`);
    return numbers as number[];
  }

  /** Operand i as a value of the network. A tensor of several numbers trains; a single number does not. */
  x(i: number): Computed {
    const value = this.value(i);
    if (value.kind === 'computed') return value;
    const count = elements(value.shape);
    return this.tensor(value, dotted(value.name) || 'constant', count > 1 ? 'parameter' : 'state');
  }

  /** Declares a tensor that holds what is known. */
  tensor(known: Known, name: string, kind: 'parameter' | 'state', form = ''): Computed {
    const declared = this.importer.tensor(name, known, kind, form);
    return { kind: 'computed', name: declared, shape: known.shape };
  }

  /** A number as a tensor that does not train. */
  constant(value: number, shape: number[] = [1]): Computed {
    const source = new Uint8Array(Float32Array.of(value).buffer);
    const entry: TensorEntry = { name: '', dtype: 'F32', shape, source };
    return this.tensor({ kind: 'known', name: '', shape, entry }, `${this.layer}.constant`, 'state');
  }

  /** Name of the node's layer; its weight's name tells it best. */
  get layer(): string {
    const { name, op, outputs } = this.node;
    return (this.#layer ??= layerOfNode(name, op) || dotted(outputs[0] ?? '') || op);
  }

  set layer(name: string) {
    this.#layer = name;
  }

  /** Adds an operator and returns its value. The last one emitted should bear the layer's name: see `last`. */
  emit(op: string, inputs: (Computed | null)[], attrs: Record<string, Attribute | undefined>, shape: Dim[]): Computed {
    const step = this.#emitted++;
    const name = this.importer.fresh(step === 0 ? this.layer : `${this.layer}.${op}`);
    this.importer.g.node(
      name,
      op,
      inputs.map((input) => input?.name ?? null),
      attrs,
    );
    return { kind: 'computed', name, shape };
  }

  /** Sets output i. */
  out(value: Value, i = 0): void {
    const name = this.node.outputs[i];
    if (name) this.importer.values.set(name, value);
  }

  unknown(): string {
    return this.importer.unknown();
  }
}

/** The same numbers, row-major, in memory (f32). */
export function inMemory(known: Known, shape: number[], numbers: readonly number[]): Known {
  const source = new Uint8Array(Float32Array.from(numbers).buffer);
  return {
    kind: 'known',
    name: known.name,
    shape,
    numbers: [...numbers],
    entry: { name: known.name, dtype: 'F32', shape, source },
  };
}

/** Rows become columns: the bytes stay where they are, but are read in other steps. */
export function transposed(known: Known, perm: readonly number[]): Known | undefined {
  const { entry, shape } = known;
  if (!entry) return undefined;
  const turned = perm.map((axis) => shape[axis]!);
  const plain = shape.map((_, i) => elements(shape.slice(i + 1)));
  if (entry.source instanceof Uint8Array) {
    const source = turnedBytes(
      entry.source,
      ELEMENT_BYTES[entry.dtype],
      turned,
      perm.map((axis) => plain[axis]!),
    );
    return { kind: 'known', name: known.name, shape: turned, entry: { ...entry, shape: turned, source } };
  }
  const strides = perm.map((axis) => (entry.source as { strides?: number[] }).strides?.[axis] ?? plain[axis]!);
  return {
    kind: 'known',
    name: known.name,
    shape: turned,
    entry: { ...entry, shape: turned, source: { ...entry.source, strides } },
  };
}

function turnedBytes(bytes: Uint8Array, size: number, shape: number[], strides: number[]): Uint8Array {
  const result = new Uint8Array(bytes.length);
  const index = shape.map(() => 0);
  for (let to = 0, from = 0; to < bytes.length; to += size) {
    result.set(bytes.subarray(from * size, from * size + size), to);
    for (let axis = shape.length; axis-- > 0;) {
      from += strides[axis]!;
      if (++index[axis]! < shape[axis]!) break;
      from -= strides[axis]! * shape[axis]!;
      index[axis] = 0;
    }
  }
  return result;
}
