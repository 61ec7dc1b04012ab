import { fromPictures } from '../data/dataset.js';
import type { Dataset, PictureSource, SkippedFile, Tensor } from '../data/types.js';
import { ThawError } from '../errors.js';
import type { Network } from '../network/network.js';
import { FIXED } from './defaults.js';
import { ranking, sigmoid, softmax } from './metrics.js';
import { inferAll } from './read.js';
import type { ReadOptions } from './read.js';
import { unscale } from './targets.js';

/** One label of a prediction. */
export interface LabelPrediction {
  /** Name of the label; its index where the network knows no names. Regression: name of the target. */
  label: string;
  index: number;
  /** Single label: softmax, adds up to 1 over all labels. Multi label: sigmoid. Regression: absent. */
  probability: number;
  /** Multi label: does the label apply (probability at or above the head's threshold)? */
  applies?: boolean;
}

/** One number of a regression head, in original units. */
export interface ValuePrediction {
  label: string;
  index: number;
  value: number;
}

/** One entry of a prediction: `LabelPrediction` for a head with labels, `ValuePrediction` for regression. */
export type Prediction = LabelPrediction | ValuePrediction;

/** A picture (path, file's bytes, pixels), or the tensors of one sample by the names of the network's inputs. */
export type PredictInput = PictureSource | Readonly<Record<string, Tensor>>;

export interface PredictOptions extends ReadOptions {
  /** Labels wanted for each input. Default 5; Infinity: all. */
  top?: number;
  /** Multi label: the probability from which a label applies. Default: the head's, else 0.5. */
  threshold?: number;
}

/**
 * What the network says about one input or many. One input: its labels, the most probable first (regression: its numbers, in the
 * head's order; write `predict<ValuePrediction>`). Several: one such list each. The bits of a prediction do not depend on what
 * it is predicted with. May run during a fit, and sees the last finished step.
 * @throws ERR_PICTURE_… the first picture that cannot be read; ERR_INPUT; ERR_ABORTED; ERR_DISPOSED
 */
export async function predict<T extends Prediction = LabelPrediction>(
  net: Network,
  input: PredictInput,
  options?: PredictOptions,
): Promise<T[]>;
export async function predict<T extends Prediction = LabelPrediction>(
  net: Network,
  input: readonly PredictInput[] | Dataset,
  options?: PredictOptions,
): Promise<T[][]>;
export async function predict(
  net: Network,
  input: PredictInput | readonly PredictInput[] | Dataset,
  options: PredictOptions = {},
): Promise<Prediction[] | Prediction[][]> {
  const { data, many } = toDataset(net, input);
  const predictions = await predictAll(net, data, options);
  return many ? predictions : predictions[0]!;
}

/** Every sample of a data set; the first one that cannot be read is an error, unless `skipped` takes the files. */
export async function predictAll(
  net: Network,
  data: Dataset,
  options: PredictOptions & { skipped?: (file: SkippedFile) => void } = {},
): Promise<Prediction[][]> {
  net.assertAlive();
  const { skipped = refuse } = options;
  const found = new Array<Prediction[]>(data.length);
  for await (const { batch, result } of inferAll(net, data, { ...options, targets: false, skipped })) {
    const scores = result.outputs[0];
    if (!scores) throw new ThawError('ERR_OUTPUT', 'expected an output of the network for predict, received none');
    const width = scores.data.length / batch.size;
    batch.samples.forEach((sample, row) => {
      found[sample] = answer(net, scores.data.slice(row * width, (row + 1) * width), options);
    });
  }
  return found;
}

function refuse({ code, file, reason }: SkippedFile): void {
  throw new ThawError(code, `expected a readable picture for predict, received ${file}: ${reason}`);
}

/** What one row of scores means. */
function answer(net: Network, scores: Float32Array, { top = FIXED.top, threshold }: PredictOptions): Prediction[] {
  const { labels, head } = net;
  const name = (index: number): string => labels[index] ?? String(index);
  if (head.kind === 'regression') {
    return Array.from(unscale(scores, head.scaling), (value, index) => ({ label: name(index), index, value }));
  }
  const limit = threshold ?? head.threshold ?? FIXED.threshold;
  const probabilities = head.kind === 'single' ? softmax(scores) : Float64Array.from(scores, sigmoid);
  return ranking(scores)
    .slice(0, top)
    .map((index) => {
      const probability = probabilities[index]!;
      return {
        label: name(index),
        index,
        probability,
        ...(head.kind === 'multi' && { applies: probability >= limit }),
      };
    });
}

/** Inputs as a data set, and whether they were several. */
export function toDataset(
  net: Network,
  input: PredictInput | readonly PredictInput[] | Dataset,
): { data: Dataset; many: boolean } {
  net.assertAlive();
  if (isDataset(input)) return { data: input, many: true };
  const inputs = (Array.isArray(input) ? input : [input]) as readonly PredictInput[];
  const many = Array.isArray(input);
  if (inputs.every(isPicture)) return { data: fromPictures(inputs), many };
  if (inputs.some(isPicture))
    throw new ThawError('ERR_INPUT', 'expected pictures or tensors for predict, received both');
  return { data: fromSamples(inputs as Record<string, Tensor>[]), many };
}

function isDataset(input: object | string): input is Dataset {
  return typeof input === 'object' && 'get' in input && typeof input.get === 'function' && 'length' in input;
}

function isPicture(input: PredictInput): input is PictureSource {
  return (
    typeof input === 'string' ||
    input instanceof Uint8Array ||
    ('data' in input && ArrayBuffer.isView(input.data) && 'width' in input)
  );
}

/** Samples given one by one, without the batch dimension. */
function fromSamples(samples: readonly Record<string, Tensor>[]): Dataset {
  return { length: samples.length, get: (index) => ({ input: { tensors: samples[index]! } }) };
}
