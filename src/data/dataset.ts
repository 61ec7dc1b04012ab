import { ThawError, expected } from '../errors.js';
import { compareCodePoints } from './names.js';
import type { Dataset, HeadKind, PictureSource, Sample, Target, Tensor } from './types.js';

/** What describes the targets of a data set. */
export interface TargetDescription {
  kind?: HeadKind;
  labels?: readonly string[];
  targetNames?: readonly string[];
}

/** A picture with its target, as `fromPictures` takes them. */
export interface PictureEntry {
  picture: PictureSource;
  target?: Target;
  name?: string;
}

class ListedDataset implements Dataset {
  declare readonly kind?: HeadKind;
  declare readonly labels?: readonly string[];
  declare readonly targetNames?: readonly string[];
  declare readonly targets?: readonly Target[];

  constructor(
    readonly length: number,
    private readonly read: (index: number) => Sample,
    targets: readonly Target[] | undefined,
    description: TargetDescription,
  ) {
    Object.assign(this, { kind: description.kind ?? 'single' }, targets && { targets });
    if (description.labels) this.labels = description.labels;
    if (description.targetNames) this.targetNames = description.targetNames;
  }

  get(index: number): Sample {
    if (!Number.isInteger(index) || index < 0 || index >= this.length) {
      throw expected('ERR_INDEX', `an index from 0 to ${this.length - 1}`, 'a sample', index);
    }
    return this.read(index);
  }
}

/** Labels used by targets that are strings, sorted by code point; undefined where targets are numbers. */
function labelsOf(targets: readonly Target[]): string[] | undefined {
  const names = new Set<string>();
  for (const target of targets) {
    for (const value of typeof target === 'string' ? [target] : typeof target === 'number' ? [] : target) {
      if (typeof value === 'string') names.add(value);
    }
  }
  return names.size > 0 ? [...names].sort(compareCodePoints) : undefined;
}

function withLabels(targets: readonly Target[] | undefined, description: TargetDescription): TargetDescription {
  const labels = description.labels ?? (targets && description.kind !== 'regression' ? labelsOf(targets) : undefined);
  return labels ? { ...description, labels } : description;
}

/**
 * A data set of pictures in a list: paths, bytes, pixels, or any of these with a target (label, index, labels,
 * numbers). Targets that are strings make the labels, sorted by code point, unless `labels` are given. Default kind:
 * 'single'.
 */
export function fromPictures(
  pictures: readonly (PictureSource | PictureEntry)[],
  description: TargetDescription = {},
): Dataset {
  const entries = pictures.map((item): PictureEntry => {
    return typeof item === 'object' && 'picture' in item ? item : { picture: item };
  });
  const withTarget = entries.filter(({ target }) => target !== undefined);
  if (withTarget.length > 0 && withTarget.length < entries.length) {
    const missing = entries.findIndex(({ target }) => target === undefined);
    throw new ThawError('ERR_TARGET', `expected a target for every picture, received none for picture ${missing}`);
  }
  const targets = withTarget.length > 0 ? entries.map(({ target }) => target!) : undefined;
  const read = (index: number): Sample => {
    const { picture, target, name } = entries[index]!;
    const shown = name ?? (typeof picture === 'string' ? picture : undefined);
    return { input: { picture }, ...(target !== undefined && { target }), ...(shown !== undefined && { name: shown }) };
  };
  return new ListedDataset(entries.length, read, targets, withLabels(targets, description));
}

function row(tensor: Tensor, index: number): Tensor {
  const size = tensor.shape.slice(1).reduce((product, length) => product * length, 1);
  return { data: tensor.data.subarray(index * size, (index + 1) * size), shape: tensor.shape.slice(1) };
}

function checkTensor(name: string, tensor: Tensor, rows: number): void {
  const size = tensor.shape.reduce((product, length) => product * length, 1);
  if (tensor.data.length !== size) {
    throw expected(
      'ERR_SHAPE',
      `${size} numbers for shape [${tensor.shape.join(', ')}]`,
      name,
      `${tensor.data.length}`,
    );
  }
  if (tensor.shape[0] !== rows) throw expected('ERR_SHAPE', `${rows} rows`, name, tensor.shape[0] ?? 'a scalar');
}

/** Targets as a list: a tensor [n] gives numbers, [n, m] arrays of m numbers. */
function listTargets(targets: Tensor | ArrayLike<Target> | undefined, rows: number): Target[] | undefined {
  if (targets === undefined) return undefined;
  if (!('shape' in targets)) {
    if (targets.length !== rows) throw expected('ERR_SHAPE', `${rows} targets`, 'fromArrays', targets.length);
    return Array.from(targets);
  }
  checkTensor('the targets', targets, rows);
  return Array.from({ length: rows }, (_, index): Target => {
    const values = Array.from(row(targets, index).data, Number);
    return targets.shape.length === 1 ? values[0]! : values;
  });
}

/**
 * A data set of tensors: one (for a network with one input, called `input`, default 'image'), or several by the names
 * of the inputs; the first dimension counts the samples. Targets: one a sample (index, label, or arrays), or a tensor
 * [n] or [n, m]. Default kind: 'single'. Throws ERR_SHAPE.
 */
export function fromArrays(
  inputs: Tensor | Readonly<Record<string, Tensor>>,
  targets?: Tensor | ArrayLike<Target>,
  description: TargetDescription & { input?: string } = {},
): Dataset {
  const single = 'shape' in inputs && Array.isArray(inputs.shape);
  const named = (single ? { [description.input ?? 'image']: inputs } : inputs) as Record<string, Tensor>;
  const rows = Object.values(named)[0]?.shape[0];
  if (rows === undefined)
    throw expected('ERR_SHAPE', 'at least one tensor with a batch dimension', 'fromArrays', inputs);
  for (const [name, tensor] of Object.entries(named)) checkTensor(name, tensor, rows);
  const list = listTargets(targets, rows);
  const read = (index: number): Sample => {
    const tensors = Object.fromEntries(Object.entries(named).map(([name, tensor]) => [name, row(tensor, index)]));
    return { input: { tensors }, ...(list && { target: list[index]! }) };
  };
  return new ListedDataset(rows, read, list, withLabels(list, description));
}
