import { existsSync } from 'node:fs';
import { imageFolder } from '../../data/folder.js';
import type { PictureFolder } from '../../data/types.js';
import { load } from '../../network/load.js';
import type { Network } from '../../network/network.js';
import type { HeadOptions } from '../../network/head-layers.js';
import { fit as runFit } from '../../train/fit.js';
import { fineTune } from '../../train/fine-tune.js';
import type { FitResult } from '../../train/events.js';
import type { FitOptions } from '../../train/options.js';
import { FIT_FLAGS, fitOptions } from '../fit-flags.js';
import { choice, flag, list, number, required, text, UsageError } from '../flags.js';
import type { Values } from '../flags.js';
import { readLabels } from '../labels.js';
import type { CliCommand, Context } from './command.js';

export const fit: CliCommand = {
  help: {
    name: 'fit',
    operands: 'DIR --base FILE --out FILE',
    text: 'Teaches a pre-trained network your own pictures: DIR has one folder a label (with or without train/, val/, test/), or is a CSV or JSONL list. Without further words the whole body is frozen and a new head is trained, the safe choice for little data.',
    flags: [
      { name: 'base', kind: 'text', value: 'FILE', text: 'The network to start from (.safetensors, .pth, .pt, .th).' },
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
    ],
    examples: [
      'thaw fit photos --base squeezenet1_1.pth --out vegetables.safetensors',
      'thaw fit photos --base resnet18.safetensors --out mine.safetensors --recipe fine-tune --epochs 8 --augment',
      'thaw fit photos --base resnet50.pth --out mine.safetensors --unfreeze layer4 --learning-rate 1e-5:1e-3',
    ],
  },
  run,
};

async function run(
  { operands, values }: { operands: string[]; values: Values },
  context: Context,
): Promise<number | void> {
  const [dir, ...more] = operands;
  if (!dir || more.length > 0) throw new UsageError('expected one DIR');
  const base = required(values, 'base');
  const out = required(values, 'out');
  const options = optionsOf(values, out, context.signal);
  if (existsSync(out) && !flag(values, 'force') && !options.resume)
    throw new UsageError(`'${out}' exists: give --force to replace it`);

  const data = await readData(dir, values, context);
  const { output } = context;
  const net = await load(base, {
    seed: number(values, 'seed') ?? 0,
    signal: context.signal,
    ...threadsOf(values),
    onProgress: ({ loaded, total }) => output.progress('loading', loaded, total),
  });
  try {
    prepare(net, data, values);
    output.say(
      `${net.name}: ${net.trainable.length} of ${net.parameters().filter((p) => !p.state).length} weight tensors are trained`,
    );
    const result = await train(net, data, values, options, context);
    if (result.reason === 'aborted') return interrupted(options, context);
    await net.save(out);
    report(net, result, data, out, context);
  } finally {
    net.dispose();
  }
}

const threadsOf = (values: Values) => {
  const threads = number(values, 'threads');
  return threads === undefined ? {} : { threads };
};

function optionsOf(values: Values, out: string, signal: AbortSignal): FitOptions {
  const options = fitOptions(values);
  // Ctrl-C keeps what was learned: there is a checkpoint without asking.
  return { checkpoint: { path: `${out}.checkpoint` }, ...options, signal };
}

/** A folder or list to validate on, or the part of the training data that is kept for it. */
async function readData(dir: string, values: Values, { output, signal }: Context): Promise<PictureFolder> {
  const labels = readLabels(text(values, 'labels'));
  const given = text(values, 'validation');
  const part = given !== undefined && !existsSync(given) ? number(values, 'validation') : undefined;
  const common = { signal, seed: number(values, 'seed') ?? 0, strict: flag(values, 'strict') ?? false };
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
function prepare(net: Network, data: PictureFolder, values: Values): void {
  const freeze = list(values, 'freeze');
  const unfreeze = list(values, 'unfreeze');
  if (freeze) net.unfreeze().freeze(freeze);
  else net.freeze();
  if (unfreeze) net.unfreeze(unfreeze);

  const kind = choice(values, 'head', ['single', 'multi', 'regression']) ?? data.kind;
  const after = text(values, 'after');
  const preset = choice(values, 'head-preset', ['linear', 'fastai']);
  const head: HeadOptions = {
    kind,
    ...(kind === 'regression' ? { targets: data.targetNames ?? ['target'] } : { labels: data.labels }),
    ...(after !== undefined && { after }),
    ...(preset && { preset }),
    seed: number(values, 'seed') ?? 0,
  };
  net.replaceHead(head);
}

async function train(
  net: Network,
  data: PictureFolder,
  values: Values,
  options: FitOptions,
  context: Context,
): Promise<FitResult> {
  const recipe = choice(values, 'recipe', ['head', 'fine-tune']) ?? 'head';
  if (recipe === 'fine-tune' && (list(values, 'freeze') || list(values, 'unfreeze')))
    throw new UsageError('--recipe fine-tune chooses what is frozen: leave --freeze and --unfreeze out');
  const all = { ...options, validation: data.val };
  const training = recipe === 'fine-tune' ? fineTune(net, data.train, all) : runFit(net, data.train, all);
  for await (const event of training) context.output.event(event);
  return training;
}

/** The shell's code for Ctrl-C. */
const INTERRUPTED = 130;

function interrupted(options: FitOptions, { output }: Context): number {
  const checkpoint = options.checkpoint as { path: string };
  output.say(`Interrupted. What was learned is in '${checkpoint.path}': go on with --resume.`);
  return INTERRUPTED;
}

function report(net: Network, result: FitResult, data: PictureFolder, out: string, { output }: Context): void {
  const metrics = result.validation;
  const json = {
    out,
    architecture: net.name,
    labels: net.labels,
    accuracy: metrics && 'accuracy' in metrics ? metrics.accuracy : (result.train?.accuracy ?? null),
    loss: metrics?.loss ?? result.train?.loss ?? null,
    measuredOn: metrics ? 'validation' : 'training',
    metrics: metrics ?? result.train ?? null,
    epochs: result.epochs.length,
    steps: result.steps,
    seconds: result.seconds,
    weights: result.weights,
    trainingPictures: data.train.length,
    validationPictures: data.val?.length ?? 0,
    skipped: result.skipped,
  };
  output.result(
    json,
    `Saved '${out}' after ${result.epochs.length} epochs in ${result.seconds.toFixed(1)} s. Try: thaw predict ${out} PICTURE`,
  );
}
