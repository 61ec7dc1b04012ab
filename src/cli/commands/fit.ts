import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { imageFolder } from '../../data/folder.js';
import type { PictureFolder } from '../../data/types.js';
import type { Network } from '../../network/network.js';
import type { HeadOptions } from '../../network/head-layers.js';
import type { HeadKind } from '../../network/types.js';
import { fit as runFit } from '../../train/fit.js';
import { fineTune } from '../../train/fine-tune.js';
import type { FitResult } from '../../train/events.js';
import { formatMetrics } from '../../train/format.js';
import type { FitOptions } from '../../train/options.js';
import type { FitRun } from '../../train/run.js';
import { formatTimes } from '../../train/times.js';
import { FINE_TUNE_FLAGS, FIT_FLAGS, fineTuneOptions, fitOptions, refuseFineTuneFlags } from '../fit-flags.js';
import { ANSWERS, answers, choice, engine, flag, list, number, required, text, UsageError } from '../flags.js';
import type { Arguments, Values } from '../flags.js';
import { readLabels } from '../labels.js';
import { loadNetwork } from '../load.js';
import type { CliCommand, Context } from './command.js';

export const fit: CliCommand = {
  help: {
    name: 'fit',
    operands: 'DIR --base FILE --out FILE',
    text: 'Teaches a pre-trained network your own pictures: DIR has one folder a label (with or without train/, val/, test/), or is a CSV or JSONL list. Without further words the whole body is frozen and a new head is trained, the safe choice for little data.',
    flags: [
      {
        name: 'base',
        kind: 'text',
        value: 'FILE',
        text: 'The network to start from: a file, or hf:ORG/NAME on the hub.',
      },
      { name: 'out', kind: 'text', value: 'FILE', text: 'Where the trained network goes.' },
      { name: 'force', kind: 'switch', text: 'Replace an existing --out.' },
      {
        name: 'recipe',
        kind: 'text',
        value: 'NAME',
        text: "'head' (default): the new head alone. 'fine-tune': the head, then everything with lower rates for lower layers.",
      },
      {
        name: 'freeze',
        kind: 'list',
        value: 'NAMES',
        text: 'Freeze these layers of the base and train the rest of its body. A beginning of names by whole segments, with * for anything; may be given again.',
      },
      {
        name: 'unfreeze',
        kind: 'list',
        value: 'NAMES',
        text: 'Train these layers of the body too. May be given again.',
      },
      {
        name: 'head',
        kind: 'text',
        value: 'KIND',
        text: "'single' (one label a picture), 'multi' (any number), 'regression' (numbers). Default: what the data says.",
      },
      {
        name: 'head-preset',
        kind: 'text',
        value: 'NAME',
        text: "A head of several layers in place of the architecture's own: 'linear' or 'fastai'.",
      },
      { name: 'after', kind: 'text', value: 'LAYER', text: 'End the body at this layer; what lies above is dropped.' },
      {
        name: 'labels',
        kind: 'text',
        value: 'LIST',
        text: "The order of the labels: 'a,b,c' or a file with one a line. Default: sorted by code point.",
      },
      ...FIT_FLAGS,
      ...FINE_TUNE_FLAGS,
      { name: 'profile', kind: 'switch', text: 'Print where the time went, and what training waited for.' },
      ...ANSWERS,
    ],
    examples: [
      'thaw fit photos --base squeezenet1_1.pth --out vegetables.safetensors',
      'thaw fit photos --base resnet18.safetensors --out mine.safetensors --recipe fine-tune --epochs 8 --augment',
      'thaw fit photos --base resnet50.pth --out mine.safetensors --unfreeze layer4 --learning-rate 1e-5:1e-3',
    ],
  },
  run,
};

/** What the flags say, read before any work so that wrong usage is told at once. */
interface Job {
  dir: string;
  base: string;
  out: string;
  kind: HeadKind | undefined;
  preset: 'linear' | 'fastai' | undefined;
  seed: number;
  options: FitOptions & { checkpoint: { path: string } };
  start: (net: Network, data: PictureFolder) => FitRun;
}

function readJob({ operands, values }: Arguments, signal: AbortSignal): Job {
  const [dir, ...more] = operands;
  if (!dir || more.length > 0) throw new UsageError('expected one DIR');
  const base = required(values, 'base');
  const out = required(values, 'out');
  const given = fitOptions(values);
  // Ctrl-C keeps what was learned: there is a checkpoint without asking.
  const options = { ...given, checkpoint: (given.checkpoint as Job['options']['checkpoint']) ?? beside(out), signal };
  if (existsSync(out) && !flag(values, 'force') && !options.resume)
    throw new UsageError(`'${out}' exists: give --force to replace it`);
  const folder = path.dirname(path.resolve(out));
  if (!existsSync(folder)) throw new UsageError(`expected a folder that exists for --out, received '${folder}'`);
  return {
    dir,
    base,
    out,
    kind: choice(values, 'head', ['single', 'multi', 'regression']),
    preset: choice(values, 'head-preset', ['linear', 'fastai']),
    seed: number(values, 'seed') ?? 0,
    options,
    start: recipe(values, options),
  };
}

const beside = (out: string) => ({ path: `${out}.checkpoint` });

function recipe(values: Values, options: FitOptions): Job['start'] {
  if (choice(values, 'recipe', ['head', 'fine-tune']) === 'fine-tune') {
    const { learningRate: _rate, schedule: _schedule, ...rest } = options;
    const all = { ...rest, ...fineTuneOptions(values) };
    return (net, data) => fineTune(net, data.train, { ...all, validation: data.val });
  }
  refuseFineTuneFlags(values);
  return (net, data) => runFit(net, data.train, { ...options, validation: data.val });
}

async function run(args: Arguments, context: Context): Promise<number | void> {
  const { output, signal } = context;
  const job = readJob(args, signal);
  const data = await readData(job, args.values, context);
  const net = await loadNetwork(job.base, context, {
    seed: job.seed,
    ...answers(args.values),
    ...engine(args.values),
  });
  try {
    prepare(net, data, args.values, job);
    const weights = net.parameters().filter(({ state }) => !state);
    output.say(`${net.name}: ${net.trainable.length} of ${weights.length} weight tensors are trained`);
    const training = job.start(net, data);
    for await (const event of training) output.event(event);
    const result = await training;
    if (result.reason === 'aborted') return interrupted(job, context);
    await net.save(job.out);
    // The one that nobody asked for has done its duty.
    if (text(args.values, 'checkpoint') === undefined) await rm(job.options.checkpoint.path, { force: true });
    if (flag(args.values, 'profile')) output.say(`\n${formatTimes(result.times)}\n`);
    report(net, result, data, job.out, context);
  } finally {
    net.dispose();
  }
}

/** A folder or list to validate on, or the part of the training data that is kept for it. */
async function readData({ dir, seed }: Job, values: Values, { output, signal }: Context): Promise<PictureFolder> {
  const labels = readLabels(text(values, 'labels'));
  const given = text(values, 'validation');
  const part = given !== undefined && !existsSync(given) ? number(values, 'validation') : undefined;
  const common = { signal, seed, strict: flag(values, 'strict') ?? false };
  const own = given !== undefined && part === undefined;
  const data = await imageFolder(dir, {
    ...common,
    ...(labels && { labels }),
    ...(own ? { validation: 0 } : part !== undefined && { validation: part }),
  });
  if (own) {
    const other = await imageFolder(given, { ...common, labels: data.labels, validation: 0, training: false });
    data.val = other.train;
  }
  data.report.notes.forEach((note) => output.say(note));
  data.report.warnings.forEach((warning) => output.warn(warning));
  return data;
}

/** Marks, then the head: patterns name layers of the base. */
function prepare(net: Network, data: PictureFolder, values: Values, { preset, seed, ...job }: Job): void {
  const freeze = list(values, 'freeze');
  const unfreeze = list(values, 'unfreeze');
  if (freeze) net.unfreeze().freeze(freeze);
  else net.freeze();
  if (unfreeze) net.unfreeze(unfreeze);

  const kind = job.kind ?? data.kind;
  const after = text(values, 'after');
  const head: HeadOptions = {
    kind,
    ...(kind === 'regression' ? { targets: data.targetNames ?? ['target'] } : { labels: data.labels }),
    ...(after !== undefined && { after }),
    ...(preset && { preset }),
    seed,
  };
  net.replaceHead(head);
}

/** The shell's code for Ctrl-C. */
const INTERRUPTED = 130;

function interrupted({ options }: Job, { output }: Context): number {
  const file = options.checkpoint.path;
  const kept = existsSync(file) ? `What was learned is in '${file}': go on with --resume.` : 'Nothing was learned yet.';
  output.say(`Interrupted. ${kept}`);
  return INTERRUPTED;
}

function report(net: Network, result: FitResult, data: PictureFolder, out: string, { output }: Context): void {
  const measured = result.validation ?? result.train;
  const epochs = result.epochs.length;
  const json = {
    out,
    architecture: net.name,
    head: net.head.kind,
    labels: net.labels,
    ...(measured && 'accuracy' in measured && { accuracy: measured.accuracy }),
    loss: measured?.loss ?? null,
    measuredOn: result.validation ? 'validation' : 'training',
    metrics: measured ?? null,
    epochs,
    steps: result.steps,
    seconds: result.seconds,
    times: result.times,
    weights: result.weights,
    trainingPictures: data.train.length,
    validationPictures: data.val?.length ?? 0,
    skipped: result.skipped,
  };
  const figures = result.validation ? `\n\nOn the pictures for validation:\n${formatMetrics(result.validation)}\n` : '';
  const saved = `Saved '${out}' after ${epochs} ${epochs === 1 ? 'epoch' : 'epochs'} in ${result.seconds.toFixed(1)} s.`;
  output.result(json, `${saved}${figures}\nTry: thaw predict ${out} PICTURE`);
}
