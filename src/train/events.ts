import type { SkippedFile } from '../data/types.js';
import type { Metrics } from './metrics.js';
import type { RunTimes, Times } from './times.js';

/** What a run of `fit` or `fineTune` tells while it works; told apart by `type`. `String(event)`-like text: `formatEvent`. */
export type FitEvent = StartEvent | ProgressEvent | StepEvent | EpochEvent | NoteEvent | WarningEvent | EndEvent;

/** The first event. */
export interface StartEvent {
  type: 'start';
  /** Training and validation samples; null: a stream, whose length is not known. */
  samples: number | null;
  validationSamples: number | null;
  /** Numbers (not tensors) that training may change at the start, and all of them. */
  trainableParameters: number;
  parameters: number;
  epochs: number;
  stepsPerEpoch: number | null;
  batch: number;
  /** True where the run goes on from a checkpoint. */
  resumed: boolean;
}

/** Work between steps: features being computed, validation. Ones that nobody reads coalesce. */
export interface ProgressEvent {
  type: 'progress';
  task: 'features' | 'validation';
  done: number;
  /** null: not known. */
  total: number | null;
}

/** Optimizer steps done. Ones that nobody reads coalesce into the latest, whose `steps` says how many it stands for. */
export interface StepEvent {
  type: 'step';
  phase: string;
  /** Epoch of the run, from 1. */
  epoch: number;
  /** Step of the epoch, from 1. */
  step: number;
  steps: number;
  /** Loss of the latest step, before its update; with label smoothing and class weights where they are on. */
  loss: number;
  /** Rate of the head at this step. */
  learningRate: number;
  samplesPerSecond: number;
  /** Norm of all gradients together, before clipping. */
  gradientNorm?: number;
  /** Milliseconds of the latest step. */
  times: Pick<Times, 'data' | 'features' | 'step' | 'update'>;
}

/** What training measured over its own steps; weights changed meanwhile. */
export interface TrainMetrics {
  loss: number;
  /** Single label only. */
  accuracy?: number;
}

/** Metrics on validation data, and those of `options.metrics` by name. */
export type ValidationMetrics = Metrics & { custom?: Record<string, number> };

/** An epoch is over. Never dropped; while a run is iterated, it waits here until the next event is asked for. */
export interface EpochEvent {
  type: 'epoch';
  phase: string;
  /** Epoch of the run, from 1. */
  epoch: number;
  epochs: number;
  train: TrainMetrics;
  validation?: ValidationMetrics;
  /** Wall time of the epoch, validation included. */
  seconds: number;
  /** Where it went. */
  times: Times;
  /** True where validation was better than in every epoch before. */
  best: boolean;
  /** Told once more because the run went on from the checkpoint at the end of this epoch. */
  resumed?: true;
}

/** Something decided without being asked. */
export interface NoteEvent {
  type: 'note';
  message: string;
}

/** Something that looks wrong. */
export interface WarningEvent {
  type: 'warning';
  message: string;
  /** The file that was left out, where it is about one. */
  skipped?: SkippedFile;
}

/** Why a run ended. 'stopped': the loop over its events was left, or `stop()` was called. */
export type EndReason = 'finished' | 'earlyStopping' | 'aborted' | 'stopped';

/** The last event. */
export interface EndEvent {
  type: 'end';
  result: FitResult;
}

/** What a run of `fit` or `fineTune` came to. */
export interface FitResult {
  reason: EndReason;
  /** Epochs that were finished. */
  epochs: EpochEvent[];
  /** Optimizer steps of the whole run, those before a resume included. */
  steps: number;
  seconds: number;
  /** Which weights the network now has. */
  weights: 'last' | 'best';
  /** The best epoch on validation, by loss or the metric asked for. */
  best?: { epoch: number; metric: string; value: number };
  /** Metrics on validation of the weights that the network now has, where they were measured. */
  validation?: ValidationMetrics;
  /** Of the last finished epoch. */
  train?: TrainMetrics;
  /** Files that could not be read. */
  skipped: SkippedFile[];
  /** Where the time went; of a run that was resumed, since then. */
  times: RunTimes;
}
