import { expected } from '../errors.js';
import type { Target, TargetEncoding, Tensor } from './types.js';

/** Index of a class given as its label or its index. Throws ERR_TARGET. */
export function classIndex(target: unknown, labels: readonly string[] | undefined, name: string): number {
  if (typeof target === 'string') {
    const index = labels ? labels.indexOf(target) : -1;
    if (index < 0) throw expected('ERR_TARGET', `one of the labels ${shortList(labels ?? [])}`, name, target);
    return index;
  }
  const most = labels ? labels.length - 1 : Number.MAX_SAFE_INTEGER;
  if (typeof target === 'number' && Number.isInteger(target) && target >= 0 && target <= most) return target;
  throw expected('ERR_TARGET', labels ? `a label or an index up to ${most}` : 'the index of a class', name, target);
}

/** Several names in one sentence. */
export function shortList(names: readonly string[], most = 8): string {
  const shown = names.slice(0, most).map((name) => `'${name}'`);
  return shown.join(', ') + (names.length > most ? ` and ${names.length - most} more` : '');
}

function fillRow(target: Target, encoding: TargetEncoding, row: Float32Array, name: string): void {
  const values =
    typeof target === 'number' || typeof target === 'string' ? [target] : Array.from<number | string>(target);
  if (encoding.kind === 'multi') {
    for (const value of values) row[classIndex(value, encoding.labels, name)] = 1;
    return;
  }
  if (values.length !== row.length || !values.every((value) => typeof value === 'number' && Number.isFinite(value))) {
    throw expected('ERR_TARGET', `${row.length} finite number${row.length > 1 ? 's' : ''}`, name, target);
  }
  values.forEach((value, i) => {
    row[i] = (Number(value) - (encoding.scaling?.mean[i] ?? 0)) / (encoding.scaling?.std[i] ?? 1);
  });
}

/**
 * Targets of one batch as a tensor: i32 [n] (single), f32 [n, classes] of 0 and 1 (multi), f32 [n, size] scaled
 * (regression).
 * Throws ERR_TARGET naming the sample.
 */
export function encodeTargets(targets: readonly Target[], encoding: TargetEncoding, names: readonly string[]): Tensor {
  if (encoding.kind === 'single') {
    const data = Int32Array.from(targets, (target, i) =>
      classIndex(target, encoding.labels, `the target of ${names[i]}`),
    );
    return { data, shape: [targets.length] };
  }
  const width = encoding.kind === 'multi' ? (encoding.labels?.length ?? 0) : (encoding.size ?? 1);
  if (width === 0) throw expected('ERR_TARGET', 'labels', 'the targets of a multi-label head', encoding.labels);
  const data = new Float32Array(targets.length * width);
  targets.forEach((target, i) => {
    fillRow(target, encoding, data.subarray(i * width, (i + 1) * width), `the target of ${names[i]}`);
  });
  return { data, shape: [targets.length, width] };
}
