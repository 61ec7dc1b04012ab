/**
 * The demo's experiment: a small source network learns twelve drawn kinds; two kinds that it never saw are then learned from
 * 43 pictures each, with and without its help.
 */
import path from 'node:path';
import { fromPictures } from '../../data/dataset.js';
import type { Dataset, RawPicture } from '../../data/types.js';
import { create } from '../../network/create.js';
import { load } from '../../network/load.js';
import type { Network } from '../../network/network.js';
import { evaluate } from '../../train/evaluate.js';
import type { FitEvent } from '../../train/events.js';
import { fineTune } from '../../train/fine-tune.js';
import { fit } from '../../train/fit.js';
import { predict } from '../../train/predict.js';
import { draw } from '../../train/random.js';
import type { FitRun } from '../../train/run.js';
import type { Engine } from '../flags.js';
import { sayDevice } from '../load.js';
import { drawPicture } from './draw.js';
import { SOURCE_KINDS, TARGET_KINDS } from './kinds.js';
import type { Kind } from './kinds.js';

const ARCHITECTURE = 'cifar_resnet20';
/** Side of a picture: what the architecture takes. */
const SIDE = 32;
const SOURCE_TRAIN = 200;
const SOURCE_TEST = 25;
/** Per kind: as many as the cucumber and zucchini photos that this job is known by. */
const TARGET_TRAIN = 43;
const TARGET_TEST = 150;
const SOURCE_EPOCHS = 8;
const HEAD_EPOCHS = 30;
const TUNE_EPOCHS = 16;
/** From scratch gets more passes than the fine-tuned network gets in all, and so at least its time. */
const SCRATCH_EPOCHS = 40;
const SCRATCH_RATES = [1e-3, 3e-3, 1e-2, 3e-2];
/** Small batches: 86 pictures would otherwise be three steps an epoch. */
const BATCH = 16;

export type MethodName = 'from scratch' | 'head only' | 'fine-tuned';
export const METHODS: readonly MethodName[] = ['from scratch', 'head only', 'fine-tuned'];

/** One training of one method on one seed. */
export interface Trial {
  method: MethodName;
  seed: number;
  /** Share of held-out pictures answered rightly, 0 … 1. */
  accuracy: number;
  seconds: number;
  trainable: number;
  /** Accuracy on held-out pictures after each epoch (first seed only): the page's curves. */
  curve: number[];
}

export interface Example {
  picture: RawPicture;
  truth: string;
  answer: string;
  probability: number;
}

export interface DemoResult {
  source: {
    kinds: number;
    pictures: number;
    heldOut: number;
    accuracy: number;
    baseline: number;
    seconds: number;
    examples: RawPicture[];
  };
  target: { kinds: string[]; training: number; heldOut: number; majority: number };
  scratchRate: number;
  trials: Trial[];
  examples: Example[];
}

export interface DemoOptions extends Engine {
  seed: number;
  seeds: number;
  /** Where the source network is kept between trials. */
  folder: string;
  signal: AbortSignal;
  say: (line: string) => void;
  progress: (task: string, done: number, total: number | null) => void;
}

/** Streams of random numbers that must not meet. */
const STREAM = { sourceTrain: 1, sourceTest: 2, targetTest: 3, targetTrain: 100 } as const;

async function drawAll(
  kinds: readonly Kind[],
  each: number,
  seed: number,
  stream: number,
  options: DemoOptions,
): Promise<Dataset> {
  const entries = [];
  for (let i = 0; i < kinds.length * each; i++) {
    const kind = kinds[i % kinds.length]!;
    let drawn = 0;
    const data = drawPicture(kind, SIDE, () => draw(seed, stream, i, drawn++) / 0x1_0000_0000);
    entries.push({ picture: { data, width: SIDE, height: SIDE, channels: 3 as const }, target: kind.label });
    if (i % 50 !== 49) continue;
    options.progress('drawing', i + 1, kinds.length * each);
    await new Promise(setImmediate);
    options.signal.throwIfAborted();
  }
  return fromPictures(entries, { labels: kinds.map((kind) => kind.label) });
}

async function pictureOf(data: Dataset, index: number): Promise<RawPicture> {
  const { input } = await data.get(index);
  return (input as { picture: RawPicture }).picture;
}

/** Runs to the end; returns the accuracy on validation after each epoch. */
async function follow(run: FitRun, task: string, options: DemoOptions): Promise<number[]> {
  const curve: number[] = [];
  let steps: number | null = null;
  for await (const event of run as AsyncIterable<FitEvent>) {
    if (event.type === 'start') steps = event.stepsPerEpoch;
    if (event.type === 'step') options.progress(`${task}, epoch ${event.epoch}`, event.step, steps);
    if (event.type === 'epoch' && event.validation && 'accuracy' in event.validation)
      curve.push(event.validation.accuracy);
  }
  await run;
  options.signal.throwIfAborted();
  return curve;
}

async function accuracyOf(net: Network, data: Dataset, options: DemoOptions): Promise<number> {
  const metrics = await evaluate(net, data, { signal: options.signal });
  if (!('accuracy' in metrics)) throw new TypeError('the demo has one label a picture');
  return metrics.accuracy;
}

const engineOf = ({ threads, precision, device }: DemoOptions) => ({
  ...(threads !== undefined && { threads }),
  ...(precision && { precision }),
  ...(device && { device }),
});

async function learnSource(options: DemoOptions, file: string): Promise<DemoResult['source']> {
  const { seed, signal } = options;
  const train = await drawAll(SOURCE_KINDS, SOURCE_TRAIN, seed, STREAM.sourceTrain, options);
  const test = await drawAll(SOURCE_KINDS, SOURCE_TEST, seed, STREAM.sourceTest, options);
  const begun = performance.now();
  const net = await create(ARCHITECTURE, { labels: train.labels!, seed, ...engineOf(options) });
  sayDevice(net, options.say);
  try {
    const run = fit(net, train, {
      epochs: SOURCE_EPOCHS,
      batch: 32,
      learningRate: 6e-3,
      schedule: 'oneCycle',
      seed,
      signal,
    });
    await follow(run, 'source network', options);
    const accuracy = await accuracyOf(net, test, options);
    await net.save(file);
    const examples = await Promise.all(SOURCE_KINDS.map((_, i) => pictureOf(test, i)));
    return {
      kinds: SOURCE_KINDS.length,
      pictures: train.length,
      heldOut: test.length,
      accuracy,
      baseline: 1 / SOURCE_KINDS.length,
      seconds: (performance.now() - begun) / 1000,
      examples,
    };
  } finally {
    net.dispose();
  }
}

interface Trained {
  net: Network;
  trial: Omit<Trial, 'accuracy'>;
}

/** One method on 86 pictures. `rate` is the learning rate from scratch. */
async function train(
  method: MethodName,
  data: Dataset,
  watch: Dataset | undefined,
  seed: number,
  rate: number,
  file: string,
  options: DemoOptions,
): Promise<Trained> {
  const begun = performance.now();
  const common = { batch: BATCH, seed, signal: options.signal, ...(watch && { validation: watch }) };
  const scratch = method === 'from scratch';
  const net = scratch
    ? await create(ARCHITECTURE, { labels: data.labels!, seed, ...engineOf(options) })
    : await load(file, { seed, ...engineOf(options) });
  if (!scratch) {
    net.freeze();
    net.replaceHead({ labels: data.labels!, seed });
  }
  const run = scratch
    ? fit(net, data, { ...common, epochs: SCRATCH_EPOCHS, learningRate: rate, schedule: 'oneCycle' })
    : method === 'head only'
      ? fit(net, data, { ...common, epochs: HEAD_EPOCHS, learningRate: 1e-2 })
      : fineTune(net, data, { ...common, epochs: TUNE_EPOCHS, freezeEpochs: 4, baseLearningRate: 1e-2, rateRatio: 10 });
  const curve = await follow(run, method, options);
  const trainable = net
    .parameters()
    .reduce((sum, p) => sum + (p.trainable ? p.shape.reduce((a, b) => a * b, 1) : 0), 0);
  return { net, trial: { method, seed, seconds: (performance.now() - begun) / 1000, trainable, curve } };
}

/** The rate that does best on a fifth of the first 86 pictures, trained on the others. */
async function searchRate(data: Dataset, options: DemoOptions): Promise<number> {
  const rows = Array.from({ length: data.length }, (_, i) => i);
  const part = async (keep: (i: number) => boolean) =>
    fromPictures(
      await Promise.all(
        rows.filter(keep).map(async (i) => ({ picture: await pictureOf(data, i), target: data.targets![i]! })),
      ),
      { labels: data.labels! },
    );
  // Kinds alternate: pairs of neighbours keep both parts balanced.
  const [inner, held] = [await part((i) => (i >> 1) % 5 !== 0), await part((i) => (i >> 1) % 5 === 0)];
  let best = { rate: SCRATCH_RATES[0]!, accuracy: -1, loss: Infinity };
  for (const rate of SCRATCH_RATES) {
    const { net } = await train('from scratch', inner, undefined, options.seed, rate, '', options);
    const { accuracy, loss } = (await evaluate(net, held)) as { accuracy: number; loss: number };
    net.dispose();
    if (accuracy > best.accuracy || (accuracy === best.accuracy && loss < best.loss)) best = { rate, accuracy, loss };
  }
  return best.rate;
}

async function showExamples(net: Network, test: Dataset): Promise<Example[]> {
  const rows = Array.from({ length: 12 }, (_, i) => i);
  const pictures = await Promise.all(rows.map((i) => pictureOf(test, i)));
  const answers = await predict(net, pictures, { top: 1 });
  return pictures.map((picture, i) => {
    const { label, probability } = answers[i]![0]!;
    return { picture, truth: String(test.targets![i]), answer: label, probability };
  });
}

/** The whole experiment; about a minute and a half on two cores. */
export async function runExperiment(options: DemoOptions): Promise<DemoResult> {
  const file = path.join(options.folder, 'source.safetensors');
  options.say(
    `Drawing ${SOURCE_KINDS.length * SOURCE_TRAIN} pictures of ${SOURCE_KINDS.length} kinds and training the source network on them …`,
  );
  const source = await learnSource(options, file);
  options.say(
    `Source network: ${(source.accuracy * 100).toFixed(1)} % on ${source.heldOut} pictures held out (guessing: ${(source.baseline * 100).toFixed(1)} %), ${source.seconds.toFixed(0)} s.`,
  );

  const test = await drawAll(TARGET_KINDS, TARGET_TEST, options.seed, STREAM.targetTest, options);
  const trainingSet = (seed: number) =>
    drawAll(TARGET_KINDS, TARGET_TRAIN, options.seed, STREAM.targetTrain + seed, options);
  options.say('Searching a learning rate for the network from scratch …');
  const scratchRate = await searchRate(await trainingSet(0), options);

  const trials: Trial[] = [];
  let examples: Example[] = [];
  for (let seed = 0; seed < options.seeds; seed++) {
    options.say(
      `Learning ${TARGET_KINDS.map((k) => k.label).join(' and ')} from ${2 * TARGET_TRAIN} pictures, draw ${seed + 1} of ${options.seeds} …`,
    );
    const data = await trainingSet(seed);
    for (const method of METHODS) {
      // The curves cost evaluations: they are not part of the time that the table reports, which is taken on the other draws.
      const { net, trial } = await train(method, data, seed === 0 ? test : undefined, seed, scratchRate, file, options);
      trials.push({ ...trial, accuracy: await accuracyOf(net, test, options) });
      if (seed === 0 && method === 'fine-tuned') examples = await showExamples(net, test);
      net.dispose();
    }
  }
  return {
    source,
    target: {
      kinds: TARGET_KINDS.map((k) => k.label),
      training: 2 * TARGET_TRAIN,
      heldOut: test.length,
      majority: 1 / TARGET_KINDS.length,
    },
    scratchRate,
    trials,
    examples,
  };
}
