import type { Dataset, SkippedFile } from '../data/types.js';
import { ThawError } from '../errors.js';
import type { Network } from '../network/network.js';
import { valueNamed } from '../network/values.js';
import { toDataset } from './predict.js';
import type { PredictInput } from './predict.js';
import { inferAll } from './read.js';
import type { ReadOptions } from './read.js';

export interface FeatureOptions extends ReadOptions {
  /** Layer whose value is wanted, as `summary()` lists them; 'layer2' is what that stage ends with. Default: the end of the body, averaged over height and width. */
  layer?: string;
  /** Average over height and width. Default: true without `layer`, else false. */
  pool?: boolean;
}

/** Values of one layer, f32, row-major, first dimension one row a sample in the order given. */
export interface Features {
  data: Float32Array;
  shape: number[];
  layer: string;
  /** Files that could not be read; their rows are zero. */
  skipped: SkippedFile[];
}

/**
 * What the body of the network makes of pictures: [n, channels], or with `layer` (and no pooling) the layer's own shape
 * [n, …]. For searching by likeness, clustering, or training something else on top.
 * @throws ERR_NO_MATCH no such layer; ERR_ABORTED
 */
export async function features(
  net: Network,
  input: PredictInput | readonly PredictInput[] | Dataset,
  options: FeatureOptions = {},
): Promise<Features> {
  const layer = options.layer === undefined ? net.head.boundary : valueNamed(net.graph, options.layer);
  if (layer === '')
    throw new ThawError(
      'ERR_OPTION',
      "expected option 'layer' for features of a network whose body is not known, received none",
    );
  const { data } = toDataset(net, input);
  const skipped: SkippedFile[] = [];
  const pool = options.pool ?? options.layer === undefined;
  const rows: Float32Array[] = [];
  let shape: number[] = [];
  const reading = {
    ...options,
    targets: false,
    outputs: [layer],
    skipped: (file: SkippedFile) => void skipped.push(file),
  };
  for await (const { batch, result } of inferAll(net, data, reading)) {
    const value = result.outputs[0]!;
    shape = pool ? value.shape.slice(1, 2) : value.shape.slice(1);
    const flat = pool ? pooled(value.data, value.shape) : value.data;
    const width = flat.length / batch.size;
    batch.samples.forEach((sample, row) => (rows[sample] = flat.slice(row * width, (row + 1) * width)));
  }
  return { data: joinRows(rows, data.length, shape), shape: [data.length, ...shape], layer, skipped };
}

/** Mean over everything behind the channel: [n, c, h, w] → [n, c]. */
function pooled(data: Float32Array, shape: number[]): Float32Array {
  const planes = shape[0]! * (shape[1] ?? 1);
  const size = data.length / planes;
  return Float32Array.from({ length: planes }, (_, plane) => {
    let sum = 0;
    for (let i = plane * size; i < (plane + 1) * size; i++) sum += data[i]!;
    return sum / size;
  });
}

function joinRows(rows: readonly (Float32Array | undefined)[], length: number, shape: number[]): Float32Array {
  const width = shape.reduce((product, size) => product * size, 1);
  const all = new Float32Array(length * width);
  for (let i = 0; i < length; i++) if (rows[i]) all.set(rows[i]!, i * width);
  return all;
}
