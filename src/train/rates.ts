import { expected } from '../errors.js';

/** Learning rates that rise from the lowest layer to the head; make one with `layerwise`. */
export interface Layerwise {
  kind: 'layerwise';
  low: number;
  high: number;
}

/**
 * Discriminative learning rates (Howard and Ruder, 2018): `low` for the lowest layer of the network, `high` for the head,
 * multiplied by an equal ratio from layer to layer (fastai's `even_mults`). Layers are the stages of the architecture
 * (`conv1`, `layer1`, …, as `net.groups()` lists them), frozen ones included.
 * @throws ERR_OPTION unless both are above 0
 */
export function layerwise(low: number, high: number): Layerwise {
  if (!(low > 0) || !(high > 0))
    throw expected('ERR_OPTION', 'two positive rates', 'layerwise(low, high)', [low, high]);
  return { kind: 'layerwise', low, high };
}

/** `count` values from low to high, each the one before times an equal ratio; one value alone is `high`. */
export function evenMultiples(low: number, high: number, count: number): number[] {
  if (count === 1) return [high];
  const ratio = (high / low) ** (1 / (count - 1));
  return Array.from({ length: count }, (_, i) => (i === count - 1 ? high : low * ratio ** i));
}
