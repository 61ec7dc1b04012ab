import type { Dataset, Target, TargetEncoding } from '../data/types.js';
import { expected, ThawError } from '../errors.js';
import type { LossOptions, TargetScaling, Tensor } from '../network/types.js';
import type { Settings, TrainingData } from './options.js';
import type { Network } from '../network/network.js';

export function isStream(data: TrainingData): data is Exclude<TrainingData, Dataset> {
  return Symbol.asyncIterator in data;
}

/** Number of samples; null for a stream. */
export function lengthOf(data: TrainingData): number | null {
  return isStream(data) ? null : data.length;
}

/**
 * Makes sure that data and network mean the same by a target. A network whose labels are mere indices takes the names that
 * the data knows.
 * @throws ERR_LABELS, ERR_DATA
 */
export function agreeOnLabels(net: Network, data: TrainingData, what: string): void {
  const { kind } = net.head;
  if (data.kind !== undefined && data.kind !== kind) {
    throw expected('ERR_DATA', `targets for a '${kind}' head`, what, `targets of kind '${data.kind}'`);
  }
  const names = kind === 'regression' ? data.targetNames : data.labels;
  if (!names || same(names, net.labels)) return;
  const unnamed = kind === 'regression' ? !net.head.targets : net.labelsSource === 'index';
  if (unnamed && names.length === net.head.outputs) return net.setLabels(names);
  const fix =
    'give the data the labels of the network (imageFolder(dir, { labels: net.labels })) or the network a new head';
  throw expected('ERR_LABELS', `the labels of the network, [${net.labels.join(', ')}],`, `${what}; ${fix}`, [...names]);
}

function same(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name, i) => name === b[i]);
}

/** How the loader turns targets into the tensor that the loss reads. */
export function targetEncoding(net: Network): TargetEncoding {
  const { kind, outputs, scaling } = net.head;
  return {
    kind,
    ...(kind === 'regression' ? { size: outputs } : { labels: net.labels }),
    ...(scaling && { scaling }),
  };
}

/** Shape of the input `target` for `rows` samples. */
export function targetShape(net: Network, rows: number): number[] {
  return net.head.kind === 'single' ? [rows] : [rows, net.head.outputs];
}

/** Every target of a data set, without reading its pictures. */
export async function allTargets(data: Dataset, signal?: AbortSignal): Promise<(Target | undefined)[]> {
  if (data.targets) return [...data.targets];
  const targets: (Target | undefined)[] = [];
  for (let i = 0; i < data.length; i++) targets.push((await data.get(i, signal ? { signal } : {})).target);
  return targets;
}

/** Mean and deviation of each regression target; a constant target is only shifted. Needs a data set, not a stream. */
export function scalingOf(targets: readonly (Target | undefined)[], width: number): TargetScaling {
  const rows = targets.map((target, i) => numbers(target, width, i));
  const columns = Array.from({ length: width }, (_, t) => rows.map((row) => row[t]!));
  const mean = columns.map((values) => values.reduce((a, b) => a + b, 0) / values.length);
  const std = columns.map((values, t) => {
    const variance = values.reduce((sum, value) => sum + (value - mean[t]!) ** 2, 0) / values.length;
    return variance > 0 ? Math.sqrt(variance) : 1;
  });
  return { mean, std };
}

function numbers(target: Target | undefined, width: number, i: number): number[] {
  const row = typeof target === 'number' ? [target] : Array.from((target ?? []) as ArrayLike<number>);
  if (row.length === width && row.every((value) => Number.isFinite(value))) return row;
  throw expected('ERR_DATA', `${width} finite number${width > 1 ? 's' : ''}`, `the target of sample ${i}`, target);
}

/** Back to original units, in place: value * std + mean. `values` is row-major [n, targets]. */
export function unscale(values: Float32Array, scaling: TargetScaling | undefined): Float32Array {
  if (!scaling) return values;
  const width = scaling.mean.length;
  return values.map((value, i) => value * scaling.std[i % width]! + scaling.mean[i % width]!);
}

/** Options of the loss, and the constant inputs that it reads. */
export interface LossSetup {
  options: LossOptions;
  inputs: Record<string, Tensor>;
}

/** @throws ERR_OPTION class weights or label smoothing that do not suit the head */
export function lossSetup(
  net: Network,
  settings: Settings,
  targets: readonly (Target | undefined)[] | null,
): LossSetup {
  const { kind, outputs } = net.head;
  const { labelSmoothing, classWeights } = settings;
  if (labelSmoothing > 0 && kind !== 'single') throw unfit('labelSmoothing', kind);
  const options: LossOptions = labelSmoothing > 0 ? { labelSmoothing } : {};
  if (classWeights === undefined) return { options, inputs: {} };
  if (kind === 'regression' || (kind === 'multi' && classWeights === 'balanced')) throw unfit('classWeights', kind);
  const weights = classWeights === 'balanced' ? balancedWeights(targets, net.labels) : classWeights;
  if (weights.length !== outputs) {
    throw expected('ERR_OPTION', `${outputs} numbers, one a label,`, "option 'classWeights'", weights.length);
  }
  const tensor = { data: Float32Array.from(weights), shape: [outputs] };
  return { options: { ...options, classWeights: true }, inputs: { class_weights: tensor } };
}

function unfit(option: string, kind: string): ThawError {
  return expected(
    'ERR_OPTION',
    `no '${option}' (it is for single-label heads)`,
    `a '${kind}' head`,
    `option '${option}'`,
  );
}

/** samples / (classes that occur x samples of the class), as scikit-learn's 'balanced'; 0 for a class without samples. */
export function balancedWeights(targets: readonly (Target | undefined)[] | null, labels: readonly string[]): number[] {
  if (!targets)
    throw new ThawError('ERR_OPTION', "expected data of known length for classWeights: 'balanced', received a stream");
  const counts = new Array<number>(labels.length).fill(0);
  for (const target of targets) {
    const index = typeof target === 'string' ? labels.indexOf(target) : (target as number);
    if (counts[index] === undefined)
      throw expected('ERR_DATA', `a label or an index below ${labels.length}`, 'a target', target);
    counts[index]! += 1;
  }
  const present = counts.filter((count) => count > 0).length;
  return counts.map((count) => (count === 0 ? 0 : targets.length / (present * count)));
}
