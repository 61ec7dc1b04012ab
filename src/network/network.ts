import { ThawError } from '../errors.js';
import type { GraphDescription } from '../graph/types.js';
import type { NativeSession } from '../native.js';
import { checkLabels } from './checks.js';
import { move } from './device.js';
import type { Device, DeviceReport, DeviceRequest } from './device.js';
import { Marks } from './freeze.js';
import { namedTensor } from './graph-edit.js';
import type { HeadOptions } from './head-layers.js';
import { replaceHead } from './heads.js';
import { layerGroups } from './groups.js';
import { forward, gradients, step } from './lowlevel.js';
import type { ForwardOptions, GradientsResult, StepOptions, StepResult } from './lowlevel.js';
import { Gate } from './lock.js';
import type { NetworkParts } from './parts.js';
import { PlanCache } from './plans.js';
import type { RunReply } from './plans.js';
import type { LoadReport } from './report.js';
import { saveNetwork } from './save.js';
import type { SaveOptions } from './save.js';
import { Store } from './store.js';
import { summarise } from './summary.js';
import type { Summary, SummaryOptions } from './summary.js';
import { TrainingGraphs } from './train-graph.js';
import type {
  Batch,
  BatchNormMode,
  CompileOptions,
  ExecuteOptions,
  FreezeOptions,
  FreezePattern,
  HeadDescription,
  HeadKind,
  LayerGroup,
  LossOptions,
  NetworkLock,
  NetworkVersion,
  Plan,
  PlanMode,
  Preprocessing,
  TargetScaling,
  Tensor,
} from './types.js';

const forgotten = new FinalizationRegistry<NativeSession>((session) => session.dispose());

/**
 * A network: a graph, its weights (held by the core), which of them are frozen, and what its inputs and outputs mean.
 * `fit`, `fineTune`, `evaluate`, `predict` and `features` are added to this class by train/.
 *
 * Methods that change the graph or the marks are synchronous and take effect at once; what they need done to the weights
 * is queued ahead of everything that follows.
 */
export class Network {
  /** Architecture's name ('resnet50'), or 'custom'. */
  readonly name: string;
  /** The architecture that this network was made from (its head and channels may differ since); null: a graph of one's own. */
  readonly architecture: { name: string; config: Record<string, unknown> } | null;
  /** What became of each tensor of the file, by name, with both shapes. */
  readonly loadReport: LoadReport;
  /** How pictures become inputs; null: not a network for pictures. `source` says where it comes from. */
  readonly preprocessing: Preprocessing | null;
  /** Size of a picture that the architecture was made for; null: unknown. */
  readonly input: { channels: number; height: number; width: number } | null;
  /** Where the labels come from; 'index': no names are known and a label is its index. */
  get labelsSource(): 'file' | 'given' | 'index' {
    return this.#labelsSource;
  }
  /** Seeds the initialisation of new layers. */
  readonly seed: number;
  /** Other names under which the file knew some tensors (tied weights): alias → name. */
  readonly aliases: Readonly<Record<string, string>>;
  /** @internal */
  readonly session: NativeSession;
  /** @internal Weights in the core, behind whatever edits are still queued. */
  readonly store: Store;

  #graph: GraphDescription;
  #head: HeadDescription;
  #labels: string[] | null;
  #labelsSource: 'file' | 'given' | 'index';
  #layers: string[];
  #graphVersion = 0;
  #marks: Marks;
  #place: DeviceReport = { asked: 'cpu', device: 'cpu' };
  readonly #plans: PlanCache;
  readonly #losses = new TrainingGraphs();
  readonly #gate = new Gate();
  #disposed = false;

  /** @internal */
  constructor(parts: NetworkParts) {
    this.name = parts.name;
    this.architecture = parts.architecture;
    this.loadReport = parts.report;
    this.preprocessing = parts.preprocessing;
    this.input = parts.input;
    this.seed = parts.seed;
    this.aliases = parts.aliases;
    this.session = parts.session;
    this.store = new Store(parts.session);
    this.#graph = parts.graph;
    this.#head = parts.head;
    this.#labels = parts.labels;
    this.#labelsSource = parts.labelsSource;
    this.#layers = parts.layers;
    this.#marks = new Marks(parts.graph, parts.frozen, parts.statistics);
    this.#plans = new PlanCache(parts.session, parts.precision);
    forgotten.register(this, parts.session, this);
  }

  /** The graph, without loss nodes. Treat it as read-only. */
  get graph(): GraphDescription {
    return this.#graph;
  }

  /** What the outputs mean: kind, number, names of targets, the layer that gives them. */
  get head(): Readonly<HeadDescription> {
    return this.#head;
  }

  /** Names of the head's outputs in order; where none are known, their indices. Regression: the names of the targets. */
  get labels(): readonly string[] {
    const names = this.#head.kind === 'regression' ? this.#head.targets : this.#labels;
    return names ?? Array.from({ length: this.#head.outputs }, (_, i) => String(i));
  }

  /** Where it computes: 'cpu' or 'cuda:0'. */
  get device(): Device {
    return this.#place.device;
  }

  /** What was asked for, and what 'auto' chose and why. */
  get deviceReport(): DeviceReport {
    return { ...this.#place };
  }

  /** Stages of the body in graph order, then the layers of a new head. */
  get layers(): readonly string[] {
    return this.#layers;
  }

  /** Names of the parameters that training changes, in graph order. */
  get trainable(): string[] {
    return this.#marks.trainable();
  }

  /** Names of the parameters and running statistics that no training changes, in graph order. */
  get frozen(): string[] {
    return this.#marks.frozenTensors();
  }

  /** What each batch norm does in training, by the name of its layer. */
  get batchNormModes(): Record<string, BatchNormMode> {
    return this.#marks.batchNormModes();
  }

  /** Grows with every change of graph or marks. */
  get version(): NetworkVersion {
    return { graph: this.#graphVersion, marks: this.#marks.version };
  }

  /** Bytes of native memory held for weights, plans and caches, that of a GPU with it. */
  get bytes(): number {
    return this.#disposed ? 0 : this.session.bytes;
  }

  /**
   * Freezes the named tensors; without a pattern, all. Takes effect at once.
   * @throws ERR_NO_MATCH nothing bears such a name; ERR_NETWORK_BUSY a fit is in the middle of an epoch
   */
  freeze(pattern?: FreezePattern, options: FreezeOptions = {}): this {
    this.assertAlive();
    this.#gate.assertMarkable();
    this.#marks.apply('freeze', pattern, options);
    return this;
  }

  /** The reverse of `freeze`: the named tensors train from now on; without a pattern, all. */
  unfreeze(pattern?: FreezePattern, options: FreezeOptions = {}): this {
    this.assertAlive();
    this.#gate.assertMarkable();
    this.#marks.apply('unfreeze', pattern, options);
    return this;
  }

  /**
   * Gives the network a new head, always trainable, and returns what was dropped and initialised.
   * With labels alone the architecture's own last layer is made anew under its own name. With `layers` or `preset` the whole
   * head is replaced by these; `after` first cuts the body above that layer. See `HeadOptions`.
   * @throws ERR_HEAD, ERR_LABELS, ERR_NO_MATCH, ERR_NETWORK_BUSY while a fit runs
   */
  replaceHead(head: readonly string[] | HeadOptions): LoadReport {
    this.assertFree('replace the head');
    const options: HeadOptions = Array.isArray(head) ? { labels: head as readonly string[] } : (head as HeadOptions);
    const edit = replaceHead(this, options);
    this.#marks = this.#marks.onto(edit.graph, edit.initialised);
    this.#graph = edit.graph;
    this.#graphVersion++;
    this.#head = edit.head;
    this.#layers = edit.layers;
    if (edit.labels !== undefined) {
      this.#labels = edit.labels;
      this.#labelsSource = edit.labels ? 'given' : 'index';
    }
    this.store.replace(edit.dropped, edit.initialised, options.seed ?? this.seed);
    return edit.report;
  }

  /** A table of layers, output shapes, parameters and marks, with totals and the memory of the plans. */
  summary(options: SummaryOptions = {}): Promise<Summary> {
    return summarise(this, options);
  }

  /** Parameters and states in graph order. `trainable`: training changes it (states: never). */
  parameters(): { name: string; shape: number[]; trainable: boolean; state: boolean }[] {
    return this.#marks.list();
  }

  /**
   * A copy of a tensor. Floating-point tensors come as Float32Array whatever the file's type, i64 as BigInt64Array.
   * @throws ERR_NO_TENSOR
   */
  async tensor(name: string, options: { signal?: AbortSignal } = {}): Promise<Tensor> {
    this.assertAlive();
    return this.store.get(this.aliases[name] ?? name, options.signal);
  }

  /**
   * Replaces a tensor's values; the shape must be the same. Frozen tensors may be set too: frozen says what training does.
   * @throws ERR_NO_TENSOR, ERR_SHAPE, ERR_NETWORK_BUSY while a fit runs
   */
  async setTensor(name: string, tensor: Tensor): Promise<void> {
    this.assertFree('set a tensor');
    await this.store.put(namedTensor(this.#graph, this.aliases[name] ?? name, this.name), tensor);
  }

  /**
   * Writes a safetensors file that `load` understands without further words (graph, head, labels, preprocessing, marks) and
   * whose tensors other tools read under their own names. What training has not changed is written in the type and bytes
   * that it was loaded with. Written beside, then renamed: an existing file is replaced whole or not at all.
   */
  save(path: string, options: SaveOptions = {}): Promise<void> {
    return saveNetwork(this, path, options);
  }

  /**
   * One inference of the whole network.
   * @returns the outputs (or the values named in `options.outputs`) by name
   * @throws ERR_NO_MATCH no such value; ERR_INPUT
   */
  forward(batch: Batch, options: ForwardOptions = {}): Promise<Record<string, Tensor>> {
    return forward(this, batch, options);
  }

  /** Losses, outputs and gradients of every trainable parameter for one batch, targets included. Changes nothing. */
  gradients(batch: Record<string, Tensor>, options: StepOptions = {}): Promise<GradientsResult> {
    return gradients(this, batch, options);
  }

  /** One training step on one batch, targets included. */
  step(batch: Record<string, Tensor>, options: StepOptions = {}): Promise<StepResult> {
    this.assertFree('take a step');
    return step(this, batch, options);
  }

  /**
   * Moves the network: 'cpu', 'cuda' (the first GPU), 'cuda:1', … or 'auto' (a GPU where one can be used, else the processor).
   * Weights, marks and the state of training stay as they are; what runs next is compiled for the new place.
   * @throws ERR_DEVICE what is missing for a GPU; ERR_ARGUMENT; ERR_NETWORK_BUSY while a fit runs
   */
  async to(device: DeviceRequest, options: { signal?: AbortSignal | undefined } = {}): Promise<this> {
    const lock = this.lock(`a move to '${String(device)}'`);
    lock.open(); // marks may change meanwhile
    const moved = move(this.session, this.#plans, this.device, device, options.signal);
    this.#place = await moved.finally(() => lock.release());
    return this;
  }

  /** Gives all native memory back. The network is of no use afterwards. May be called twice. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    forgotten.unregister(this);
    this.session.dispose();
  }

  /** True after `dispose`. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /** The same as `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  // What train/ builds on.

  /** Parameters by depth, for learning rates by group and gradual unfreezing. */
  groups(): LayerGroup[] {
    return layerGroups(this.#graph, this.#layers);
  }

  /**
   * The network's graph with the loss of its head appended: the same object for the same options until the graph changes.
   * Adds the input `target`: single i32 [N] (f32 [N, outputs] with `soft`), multi and regression f32 [N, outputs]; see `LossOptions`
   * for more inputs. The loss is the value `loss`. A graph with losses of its own is returned as it is.
   */
  trainingGraph(kind: HeadKind = this.#head.kind, options: LossOptions = {}): GraphDescription {
    return this.#losses.get(this.#graph, this.#head, kind, options);
  }

  /**
   * Compiles, or finds, the plan for a mode and concrete input shapes. Plans of older graphs and marks are released.
   * Prefer `execute`, which asks anew before each run.
   */
  async compile(mode: PlanMode, inputs: Record<string, number[]>, options: CompileOptions = {}): Promise<Plan> {
    this.assertAlive();
    await this.store.settled();
    return this.#plans.get({
      mode,
      inputs,
      graph: options.graph ?? this.#graph,
      current: this.#graphVersion,
      marks: this.#marks,
      ...(options.outputs && { outputs: options.outputs }),
      signal: options.signal,
    });
  }

  /**
   * Compiles (or finds) a plan and runs it: `buffers` by input name, `request` as the core's `run` command takes it
   * (without plan and inputs). The plan is that of the shapes of `inputs`, unless `shapes` says otherwise: `step` and `head` are
   * compiled for the shapes of the graph's inputs, but read the cut.
   */
  async execute(
    mode: PlanMode,
    inputs: Record<string, Tensor>,
    request: object = {},
    options: ExecuteOptions = {},
  ): Promise<{ plan: Plan; reply: RunReply; buffers: ArrayBuffer[] }> {
    const shapes =
      options.shapes ?? Object.fromEntries(Object.entries(inputs).map(([name, { shape }]) => [name, shape]));
    const frozen = options.frozen && (await this.compile('embed', options.frozen, options));
    const plan = await this.compile(mode, shapes, options);
    if (plan.released || frozen?.released) return this.execute(mode, inputs, request, options);
    return this.#plans.run(plan, inputs, request, { ...options, frozen });
  }

  /**
   * Takes the network for a fit: until `release`, marks change only while the lock is open.
   * @throws ERR_NETWORK_BUSY a fit has it already
   */
  lock(who = 'fit'): NetworkLock {
    this.assertAlive();
    return this.#gate.take(who);
  }

  /** Who holds the network, or null. */
  get busy(): string | null {
    return this.#gate.holder;
  }

  /** Sets what a trained head needs to give the user's own numbers; saved with the network. */
  setHeadMeaning(meaning: { scaling?: TargetScaling; threshold?: number }): void {
    this.#head = { ...this.#head, ...meaning };
  }

  /** Names outputs that had none (labels found in the data). @throws ERR_LABELS unless there is one per output */
  setLabels(labels: readonly string[]): void {
    if (this.#head.kind === 'regression')
      this.#head = { ...this.#head, targets: checkLabels(labels, this.#head.outputs) };
    else this.#labels = checkLabels(labels, this.#head.outputs);
    this.#labelsSource = 'given';
  }

  /** All marks as data, for files. */
  get marks(): { frozen: string[]; statistics: string[] } {
    return this.#marks.toJSON();
  }

  /** @internal Puts the marks of a checkpoint in place of the present ones; names that the graph does not know are left out. */
  restoreMarks(marks: { frozen: Iterable<string>; statistics: Iterable<string> }): void {
    this.assertAlive();
    this.#gate.assertMarkable();
    this.#marks = this.#marks.restored(marks.frozen, marks.statistics);
  }

  /** @throws ERR_DISPOSED */
  assertAlive(): void {
    if (this.#disposed) throw new ThawError('ERR_DISPOSED', `the network '${this.name}' has been disposed of`);
  }

  /** @throws ERR_NETWORK_BUSY while a fit runs; ERR_DISPOSED */
  assertFree(action: string): void {
    this.assertAlive();
    this.#gate.assertFree(action);
  }
}
