import type { SkippedFile } from '../data/types.js';
import type { EndReason, EpochEvent, FitResult } from './events.js';

/** Where a run stands: everything but the tensors, as a checkpoint keeps it. */
export interface TrainingState {
  /** Phase (0 for `fit`; `fineTune` has two), and whether its marks have been set. */
  phase: number;
  prepared: boolean;
  /** Finished epochs of the phase, and of the run. */
  epoch: number;
  epochs: number;
  /** Batches used up and optimizer steps done in the epoch that is not finished. */
  batches: number;
  step: number;
  /** Optimizer steps of the whole run. */
  steps: number;
  /** Sums over the epoch that is not finished: losses times rows, rows, right answers. */
  partial: { loss: number; rows: number; right: number };
  history: EpochEvent[];
  best: FitResult['best'] | null;
  /** Epochs without improvement. */
  waited: number;
  /** Why there is nothing more to train, once that is so. */
  ended: EndReason | null;
  /** Tensors that this run has been free to change, in the order in which they became so. */
  touched: string[];
  skipped: SkippedFile[];
  seconds: number;
}

export function freshState(): TrainingState {
  return {
    phase: 0,
    prepared: false,
    epoch: 0,
    epochs: 0,
    batches: 0,
    step: 0,
    steps: 0,
    partial: { loss: 0, rows: 0, right: 0 },
    history: [],
    best: null,
    waited: 0,
    ended: null,
    touched: [],
    skipped: [],
    seconds: 0,
  };
}
