import type { Batch, SkippedFile } from '../data/types.js';
import type { EndReason, EpochEvent, FitResult } from './events.js';
import { argmax } from './metrics.js';
import type { Phase } from './phases.js';
import type { PlanResult } from './plans.js';

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

/** Adds one batch to the sums of the epoch. */
export function count({ partial }: TrainingState, batch: Batch, { loss, outputs }: PlanResult, single: boolean): void {
  partial.loss += loss * batch.size;
  partial.rows += batch.size;
  const scores = outputs[0];
  if (!single || !batch.target || !scores) return;
  const width = scores.data.length / batch.size;
  for (let row = 0; row < batch.size; row++) {
    const best = argmax(scores.data.subarray(row * width, (row + 1) * width));
    partial.right += Number(best === Number(batch.target.data[row]));
  }
}

/** Moves on to the position behind a finished epoch: the next one, the next phase, or the end. */
export function advance(state: TrainingState, event: EpochEvent, phases: readonly Phase[], patience: number): void {
  Object.assign(state, { batches: 0, step: 0, partial: { loss: 0, rows: 0, right: 0 }, epoch: state.epoch + 1 });
  state.history.push(event);
  const early = state.waited >= patience;
  if (state.epoch < phases[state.phase]!.epochs && !early) return;
  Object.assign(state, { phase: state.phase + 1, epoch: 0, prepared: false, waited: 0 });
  if (state.phase === phases.length) state.ended = early ? 'earlyStopping' : 'finished';
}

/** Fits a position to other numbers of epochs: a run that had finished goes on where the last phase now has more. */
export function reopen(state: TrainingState, phases: readonly Phase[]): void {
  const last = phases.length - 1;
  if (state.ended === 'finished') {
    const done = state.epochs - phases.slice(0, last).reduce((sum, phase) => sum + phase.epochs, 0);
    if (done < phases[last]!.epochs) Object.assign(state, { phase: last, prepared: true, epoch: done, ended: null });
  } else if (!state.ended && state.batches === 0 && state.epoch >= phases[state.phase]!.epochs) {
    Object.assign(state, { phase: state.phase + 1, epoch: 0, prepared: false });
    if (state.phase > last) state.ended = 'finished';
  }
}
