import type { Update } from '../network/types.js';
import type { Settings } from './options.js';
import type { Network } from '../network/network.js';
import { evenMultiples } from './rates.js';
import type { Layerwise } from './rates.js';
import { scheduleAt } from './schedule.js';
import type { Schedule } from './schedule.js';

/** Prefixes of the tensors that training keeps beside the weights. */
export const OPTIMIZER = 'optimizer/';
export const BEST = 'best/';
export const ORIGIN = 'origin/';

/** The base rate of each trainable parameter. */
export interface Rates {
  head: number;
  byName: Record<string, number> | null;
}

/**
 * Rates spread over the network's layers, frozen ones included, so that freezing does not move the rates of the others.
 * Parameters of one layer share a rate.
 */
export function spreadRates(net: Network, rate: number | Layerwise): Rates {
  if (typeof rate === 'number') return { head: rate, byName: null };
  const groups = net.groups();
  const values = evenMultiples(rate.low, rate.high, groups.length);
  const byName = Object.fromEntries(groups.flatMap((group, i) => group.parameters.map((name) => [name, values[i]!])));
  const trainable = new Set(net.trainable);
  return {
    head: rate.high,
    byName: Object.fromEntries(Object.entries(byName).filter(([name]) => trainable.has(name))),
  };
}

/** Parameters that decay when norms and biases do not: those of two dimensions and more. */
function spared(net: Network): Record<string, number> {
  const flat = net.parameters().filter(({ shape, trainable }) => trainable && shape.length <= 1);
  return Object.fromEntries(flat.map(({ name }) => [name, 0]));
}

/** What the core needs for the update of one step; made anew whenever marks or phase change. */
export class Updates {
  readonly #rates: Rates;
  readonly #common: Omit<Update, 'learningRate'>;
  readonly #schedule: Schedule;
  readonly #steps: number;

  /** @param steps updates in the whole phase */
  constructor(
    net: Network,
    settings: Settings,
    phase: { learningRate: number | Layerwise; schedule: Schedule },
    steps: number,
  ) {
    this.#rates = spreadRates(net, phase.learningRate);
    this.#schedule = phase.schedule;
    this.#steps = steps;
    const { optimizer, momentum, nesterov, betas, eps, weightDecay, clipNorm } = settings;
    this.#common = {
      optimizer,
      ...(optimizer === 'sgd' ? { momentum, nesterov } : { beta1: betas[0], beta2: betas[1], eps }),
      weightDecay,
      ...(!settings.decayNorms && { decays: spared(net) }),
      ...(settings.l2sp && { l2sp: { towards: ORIGIN } }),
      ...(clipNorm !== undefined && { clipNorm }),
    };
  }

  /** The update at `step` (from 0) of the phase. */
  at(step: number): Update {
    const { factor, momentum } = scheduleAt(this.#schedule, step, this.#steps);
    const { head, byName } = this.#rates;
    const rates = byName && Object.fromEntries(Object.entries(byName).map(([name, rate]) => [name, rate * factor]));
    const cycled = momentum === undefined ? {} : this.#common.optimizer === 'sgd' ? { momentum } : { beta1: momentum };
    return { ...this.#common, ...cycled, learningRate: head * factor, ...(rates && { rates }) };
  }
}
