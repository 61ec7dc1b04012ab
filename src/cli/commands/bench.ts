import { availableParallelism } from 'node:os';
import { ThawError } from '../../errors.js';
import { create } from '../../network/create.js';
import type { Network } from '../../network/network.js';
import type { PlanMode, Tensor } from '../../network/types.js';
import { architectures } from '../../zoo/index.js';
import { answers, engine, INPUT_SIZE, number, text, UsageError } from '../flags.js';
import type { Values } from '../flags.js';
import { loadNetwork, sayDevice } from '../load.js';
import type { CliCommand, Context } from './command.js';

const MODES = ['forward', 'step', 'head'] as const;
type BenchMode = (typeof MODES)[number];

/** Side of the pictures where the network does not say. */
const SIDE = 224;
const WARM_UP = 2;

export const bench: CliCommand = {
  help: {
    name: 'bench',
    operands: '',
    text: 'How many pictures a second this machine does with a network: medians of repeats on drawn pictures.',
    flags: [
      {
        name: 'net',
        kind: 'text',
        value: 'NAME|FILE',
        text: 'A weight file, a model of the hub (hf:…), or the name of a network, which gets drawn weights.',
      },
      { name: 'batch', kind: 'number', value: 'N', text: 'Pictures at once. Default 16.' },
      {
        name: 'mode',
        kind: 'text',
        value: 'MODE',
        text: 'forward; step: a step that trains all; head: a step that trains the last layer alone, body computed each time. Default forward.',
      },
      { name: 'repeats', kind: 'number', value: 'N', text: 'Measured runs, after two that are not. Default 11.' },
      INPUT_SIZE,
    ],
    examples: [
      'thaw bench --net resnet50',
      'thaw bench --net vegetables.safetensors --mode head --batch 32 --precision fp32 --json',
    ],
  },
  async run({ operands, values }, context) {
    const name = text(values, 'net');
    if (operands.length > 0 || name === undefined) throw new UsageError('expected --net NAME|FILE and no operands');
    const mode = benchMode(text(values, 'mode') ?? 'forward');
    const batch = whole(values, 'batch', 16);
    const repeats = whole(values, 'repeats', 11);
    const net = await open(name, values, context);
    try {
      await measure(net, { mode, batch, repeats, threads: number(values, 'threads') }, context);
    } finally {
      net.dispose();
    }
  },
};

function benchMode(mode: string): BenchMode {
  const found = MODES.find((one) => one === mode);
  if (!found) throw new UsageError(`expected ${MODES.join(', ')} for --mode, received '${mode}'`);
  return found;
}

function whole(values: Values, name: string, otherwise: number): number {
  const value = number(values, name) ?? otherwise;
  if (!Number.isInteger(value) || value < 1)
    throw new UsageError(`expected a whole number above 0 for --${name}, received ${value}`);
  return value;
}

async function open(name: string, values: Values, context: Context): Promise<Network> {
  const answered = answers(values);
  if (!architectures().includes(name)) return loadNetwork(name, context, { ...answered, ...engine(values) });
  if (answered.inputSize) throw new UsageError(`expected a file for --input-size, received the network ${name}`);
  const net = await create(name, { ...engine(values), signal: context.signal });
  sayDevice(net, (line) => context.output.say(line));
  return net;
}

interface Work {
  mode: BenchMode;
  batch: number;
  repeats: number;
  threads: number | undefined;
}

async function measure(net: Network, work: Work, { output, signal }: Context): Promise<void> {
  const { mode, batch, repeats } = work;
  if (!net.preprocessing && !net.input)
    throw new ThawError('ERR_INPUT', `expected a network for pictures for thaw bench, received '${net.name}'`);
  const inputs = { [net.graph.inputs[0]!.name]: pictures(net, batch) };
  const run = mode === 'forward' ? () => net.forward(inputs, { signal }) : training(net, inputs, mode, batch, signal);
  const samples: number[] = [];
  for (let i = -WARM_UP; i < repeats; i++) {
    signal.throwIfAborted();
    const begin = performance.now();
    await run(i + WARM_UP);
    if (i >= 0) samples.push(performance.now() - begin);
    output.progress(`${net.name}, ${mode}`, Math.max(i + 1, 0), repeats);
  }
  const { isa, precision } = await plan(net, inputs, mode, batch);
  const ms = quantile(samples, 0.5);
  const spread = (quantile(samples, 0.75) - quantile(samples, 0.25)) / ms;
  const threads = work.threads ?? availableParallelism();
  const picturesPerSecond = (1e3 * batch) / ms;
  const shape = inputs[net.graph.inputs[0]!.name]!.shape;
  const { device, gpu } = net.deviceReport;
  const place = gpu ? `${device} (${gpu.name})` : `${isa}, threads ${threads}`;
  output.result(
    { net: net.name, mode, batch, shape, precision, device, isa, threads, repeats, picturesPerSecond, ms, spread },
    `${net.name}, ${mode}, ${shape.join(' x ')}, ${precision} on ${place}: ` +
      `${picturesPerSecond.toFixed(1)} pictures/s\n` +
      `${ms.toFixed(2)} ms a batch, median of ${repeats}; half of them within ${(100 * spread).toFixed(1)} %`,
  );
}

/** Drawn numbers in the range of normalised pixels. */
function pictures(net: Network, batch: number): Tensor {
  const { channels, height, width } = net.input ?? { channels: 3, height: SIDE, width: SIDE };
  const shape = [batch, channels, height, width];
  let state = 1;
  const draw = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 30 - 2;
  return { data: Float32Array.from({ length: batch * channels * height * width }, draw), shape };
}

function training(
  net: Network,
  inputs: Record<string, Tensor>,
  mode: BenchMode,
  batch: number,
  signal: AbortSignal,
): (seed: number) => Promise<unknown> {
  if (mode === 'head') unfreezeHead(net);
  else net.unfreeze();
  const update = { optimizer: 'sgd', learningRate: 1e-3, momentum: 0.9 } as const;
  const all = { ...inputs, target: target(net, batch) };
  return (seed) => net.step(all, { update, seed, signal });
}

function unfreezeHead(net: Network): void {
  const { classifier } = net.head;
  if (!classifier)
    throw new ThawError('ERR_HEAD', `expected a network with a last layer for --mode head, received '${net.name}'`);
  net.freeze().unfreeze(`${classifier}.*`);
}

function target(net: Network, batch: number): Tensor {
  const { kind, outputs } = net.head;
  if (kind === 'single') return { data: Int32Array.from({ length: batch }, (_, i) => i % outputs), shape: [batch] };
  return { data: new Float32Array(batch * outputs), shape: [batch, outputs] };
}

/** What was chosen for this processor; the plan exists already. */
function plan(net: Network, inputs: Record<string, Tensor>, mode: BenchMode, batch: number) {
  const shapes = Object.fromEntries(Object.entries(inputs).map(([name, { shape }]) => [name, shape]));
  if (mode === 'forward') return net.compile('run', shapes);
  const given = { ...shapes, target: target(net, batch).shape };
  return net.compile('step' satisfies PlanMode, given, { graph: net.trainingGraph() });
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const place = (sorted.length - 1) * share;
  const low = sorted[Math.floor(place)]!;
  return low + (sorted[Math.ceil(place)]! - low) * (place - Math.floor(place));
}
