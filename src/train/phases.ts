import type { Network } from '../network/network.js';
import type { Layerwise } from './rates.js';
import type { Schedule } from './schedule.js';

/** A part of a run with its own marks, length and rates. `fit` has one, `fineTune` two. */
export interface Phase {
  name: string;
  epochs: number;
  learningRate: number | Layerwise;
  schedule: Schedule;
  /** Sets the marks at the beginning of the phase; absent: they stay as the user has set them. */
  mark?: (net: Network) => void;
}
