import { expected, ThawError } from '../errors.js';
import type { GraphDescription } from '../graph/types.js';
import type { Preprocessing } from '../zoo/index.js';
import { firstConvolution, reshaped, tensorOf } from './graph-edit.js';
import type { Store } from './store.js';

/** How a first convolution for `from` channels takes pictures of `to` channels. */
export interface ChannelChange {
  from: number;
  to: number;
  weight: string;
  graph: GraphDescription;
  note: string;
}

const NOTES: Record<string, string> = {
  '3→1': 'summed over the input channels',
  '3→4': 'zero for the fourth input channel',
  '1→3': 'a third for each of the three input channels',
  '1→4': 'a third for each of three input channels, zero for the fourth',
};

/**
 * The graph for pictures of `to` channels; null where it has them already.
 * @throws ERR_CHANNELS where no rule says how
 */
export function changeChannels(graph: GraphDescription, to: number): ChannelChange | null {
  const first = firstConvolution(graph);
  if (!first)
    throw new ThawError(
      'ERR_CHANNELS',
      'expected a convolution on the input for channels, received a network without one',
    );
  const input = graph.inputs.find(({ name }) => name === first.input)!;
  const from = input.shape[1];
  if (from === to) return null;
  const { shape } = tensorOf(graph, first.weight);
  const note = NOTES[`${from}→${to}`];
  if (!note || shape[1] !== from)
    throw expected('ERR_CHANNELS', 'a change from 3 to 1 or 4, or from 1 to 3 or 4', 'channels', `${from} to ${to}`);
  const inputs = graph.inputs.map((one) =>
    one === input ? { ...one, shape: one.shape.map((size, i) => (i === 1 ? to : size)) } : one,
  );
  const changed = reshaped(graph, first.weight, [shape[0]!, to, ...shape.slice(2)]);
  return { from: from as number, to, weight: first.weight, graph: { ...changed, inputs }, note };
}

/** Rewrites the weights in the store. Sums are taken in double precision. */
export async function adaptWeights(
  store: Store,
  change: ChannelChange,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { data, shape } = await store.get(change.weight, signal);
  const described = tensorOf(change.graph, change.weight);
  const adapted = mixed(data as Float32Array, shape, change.to);
  await store.put(described, { data: adapted, shape: described.shape });
}

/** weight [K, from, kh, kw] → [K, to, kh, kw]. */
export function mixed(weight: Float32Array, [filters, from, ...kernel]: number[], to: number): Float32Array {
  const area = kernel.reduce((product, size) => product * size, 1);
  const result = new Float32Array(filters! * to * area);
  for (let k = 0; k < filters!; k++) {
    for (let p = 0; p < area; p++) {
      const old = Array.from({ length: from! }, (_, c) => weight[(k * from! + c) * area + p]!);
      const grey = old.reduce((sum, w) => sum + w, 0);
      for (let c = 0; c < to; c++) {
        const one = from === 1 ? old[0]! / 3 : old[c]!;
        result[(k * to + c) * area + p] = to === 1 ? grey : c === 3 ? 0 : one;
      }
    }
  }
  return result;
}

/** Grey takes the average of the three channels' means and deviations, and so does a fourth channel. */
export function changePreprocessing(preprocessing: Preprocessing, to: 1 | 3 | 4): Preprocessing {
  const average = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const spread = (values: number[]): number[] => {
    const mean = average(values);
    return to === 1 ? [mean] : Array.from({ length: to }, (_, c) => (values.length === 1 ? mean : (values[c] ?? mean)));
  };
  return { ...preprocessing, channels: to, mean: spread(preprocessing.mean), std: spread(preprocessing.std) };
}
