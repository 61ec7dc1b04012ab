import { expected } from '../errors.js';
import type { HeadKind } from './types.js';

/** One layer of a head; made by `linear`, `relu`, `dropout`, `batchNorm`, `concatPool`, `globalAveragePool`, `flatten`. */
export type HeadLayer =
  | { kind: 'linear'; outputs: number; bias: boolean }
  | { kind: 'dropout'; p: number }
  | { kind: 'relu' | 'batchNorm' | 'concatPool' | 'globalAveragePool' | 'flatten' };

/** What `replaceHead` makes. */
export interface HeadOptions {
  /** Names of the outputs of a `single` or `multi` head, in order. */
  labels?: readonly string[] | undefined;
  /** Names of the numbers of a `regression` head, in order (instead of `labels`). */
  targets?: readonly string[] | undefined;
  /** Number of outputs where no names are known. */
  outputs?: number;
  /** Default: 'regression' where `targets` are given, else 'single'. */
  kind?: HeadKind;
  /** The whole head, layer by layer, on top of the body's features; its last layer is `linear` with one output a label. */
  layers?: readonly HeadLayer[];
  /**
   * 'linear': global average pool, then linear. 'fastai': average and maximum pool side by side, batch norm, dropout 0.25,
   * linear 512 without bias, relu, batch norm, dropout 0.5, linear (after Howard and Gugger, 2020).
   */
  preset?: 'linear' | 'fastai';
  /** Ends the body at this layer: everything above it is dropped. A name by whole segments: 'layer3', 'features.5'. */
  after?: string;
  /** Dropout before the last linear layer of `preset`: 'linear' 0 by default, 'fastai' 0.5 (half of it before the first). */
  dropout?: number;
  /** Seeds the new weights; default: the network's seed. */
  seed?: number;
}

/** Fully connected: `outputs` numbers. Weight and bias start uniform in ±1/sqrt(inputs), as in PyTorch. */
export function linear(outputs: number, options: { bias?: boolean } = {}): HeadLayer {
  if (!Number.isInteger(outputs) || outputs < 1)
    throw expected('ERR_HEAD', 'a whole number above 0', 'linear(outputs)', outputs);
  return { kind: 'linear', outputs, bias: options.bias ?? true };
}

/** max(x, 0). */
export const relu = (): HeadLayer => ({ kind: 'relu' });

/** Zeroes each number with probability `p` (0 ≤ p < 1) in training, scaling the others by 1/(1-p). Default 0.5. */
export function dropout(p = 0.5): HeadLayer {
  if (!(p >= 0 && p < 1)) throw expected('ERR_HEAD', '0 ≤ p < 1', 'dropout(p)', p);
  return { kind: 'dropout', p };
}

/** Batch norm over channels (or features), eps 1e-5, momentum 0.1. */
export const batchNorm = (): HeadLayer => ({ kind: 'batchNorm' });

/** Global average and global maximum pool side by side: [N, C, H, W] → [N, 2C, 1, 1]. */
export const concatPool = (): HeadLayer => ({ kind: 'concatPool' });

/** [N, C, H, W] → [N, C, 1, 1]. */
export const globalAveragePool = (): HeadLayer => ({ kind: 'globalAveragePool' });

/** [N, C, H, W] → [N, C·H·W]. Put before a `linear` where it is missing. */
export const flatten = (): HeadLayer => ({ kind: 'flatten' });

/** The layers of a preset. `dropout` is the probability before the last linear layer. */
export function presetLayers(preset: 'linear' | 'fastai', outputs: number, p: number | undefined): HeadLayer[] {
  if (preset === 'linear') return [globalAveragePool(), flatten(), ...(p ? [dropout(p)] : []), linear(outputs)];
  if (preset !== 'fastai') throw expected('ERR_HEAD', "'linear' or 'fastai'", 'preset', preset);
  const last = p ?? 0.5;
  return [
    concatPool(),
    flatten(),
    batchNorm(),
    dropout(last / 2),
    linear(512, { bias: false }),
    relu(),
    batchNorm(),
    dropout(last),
    linear(outputs),
  ];
}
