import { openCheckpoint } from '../../formats/checkpoint.js';
import type { Checkpoint } from '../../formats/checkpoint.js';
import { locate } from '../../network/hub.js';
import type { Located } from '../../network/hub.js';
import { loadOpened } from '../../network/load.js';
import type { LoadOptions } from '../../network/load.js';
import type { Network } from '../../network/network.js';
import { textTable } from '../../report/text.js';
import { ThawError } from '../../errors.js';
import { ANSWERS, answers, engine, flag, number, UsageError } from '../flags.js';
import { sayDevice } from '../load.js';
import type { Output } from '../output.js';
import type { CliCommand } from './command.js';

/** Codes that say: the file can be read, but it is no network that thaw knows. */
const NO_NETWORK = new Set([
  'ERR_UNKNOWN_ARCHITECTURE',
  'ERR_LOAD_MISMATCH',
  'ERR_KERAS',
  'ERR_KERAS_LAYER',
  'ERR_DARKNET_LAYER',
  'ERR_ONNX_OPERATOR',
  'ERR_ONNX',
  'ERR_INPUT_SIZE',
]);

export const inspect: CliCommand = {
  help: {
    name: 'inspect',
    operands: 'FILE',
    text: 'Shows what is in a weight file: architecture, layers, shapes, labels, preprocessing, memory. A file of no known architecture: its tensors, and its nodes where it has a graph.',
    flags: [
      { name: 'tensors', kind: 'switch', text: 'List the tensors of the file instead of the layers.' },
      {
        name: 'plan',
        kind: 'switch',
        text: 'Show how a prediction is computed: precision, kernels, and why not others.',
      },
      { name: 'batch', kind: 'number', value: 'N', text: 'Batch that shapes and memory are shown for. Default 1.' },
      ...ANSWERS,
    ],
    examples: [
      'thaw inspect squeezenet1_1.pth',
      'thaw inspect hf:timm/resnet18.a1_in1k',
      'thaw inspect vegetables.safetensors --json',
    ],
  },
  async run({ operands, values }, { output, signal }) {
    const [file, ...more] = operands;
    if (!file || more.length > 0) throw new UsageError('expected one FILE');
    const located = await locate(file, { signal, onProgress: output.loading });
    const options = { signal, ...answers(values), ...engine(values) };
    const checkpoint = await openCheckpoint(located.path, options);
    const net = flag(values, 'tensors') ? null : await networkOf(checkpoint, located, options, output);
    if (!net) return output.result(describeFile(checkpoint), tensorTable(checkpoint));
    try {
      const batch = number(values, 'batch');
      if (flag(values, 'plan')) return await showPlan(net, batch ?? 1, output, signal);
      const summary = await net.summary({ signal, ...(batch !== undefined && { batch }) });
      output.result(
        { ...describeFile(checkpoint), ...describeNetwork(net), summary },
        `${networkText(net, checkpoint)}\n\n${summary}`,
      );
    } catch (error) {
      // A file that does not say how large its pictures are may leave a window or a batch norm a single value.
      if (!(error instanceof ThawError) || !['ERR_SHAPE', 'ERR_BATCH_NORM'].includes(error.code)) throw error;
      output.warn(`${error.message}; this is what the file holds:`);
      output.result(describeFile(checkpoint), tensorTable(checkpoint));
    } finally {
      net.dispose();
    }
  },
};

/** null where it is none that thaw knows. */
async function networkOf(
  checkpoint: Checkpoint,
  located: Located,
  options: LoadOptions,
  output: Output,
): Promise<Network | null> {
  try {
    const net = await loadOpened(checkpoint, located, options);
    sayDevice(net, (line) => output.say(line));
    return net;
  } catch (error) {
    if (!(error instanceof ThawError) || !NO_NETWORK.has(error.code)) throw error;
    output.warn(`${error.message}; this is what it holds:`);
    return null;
  }
}

/** The plan of a prediction: what the core chose for this processor. */
async function showPlan(net: Network, batch: number, output: Output, signal: AbortSignal): Promise<void> {
  const [input] = net.graph.inputs;
  const size = net.input ?? { channels: 3, height: 224, width: 224 };
  const shape = [batch, size.channels, size.height, size.width];
  const plan = await net.compile('run', { [input!.name]: shape }, { signal });
  const rows = plan.launches.map(({ node, op, kernel, prepared }) => [op, kernel || '–', prepared ? 'once' : '', node]);
  const why = plan.declined.map(({ node, kernel, why }) => [node, kernel, why]);
  output.result(
    { isa: plan.isa, precision: plan.precision, bytes: plan.bytes, launches: plan.launches, declined: plan.declined },
    [
      `${net.name}, batch ${batch}: ${plan.precision} on ${plan.isa}`,
      textTable([['operator', 'kernel', 'computed', 'node'], ...rows]),
      ...(why.length > 0 ? [textTable([['node', 'not', 'why'], ...why])] : []),
    ].join('\n\n'),
  );
}

function describeFile(checkpoint: Checkpoint) {
  return {
    file: checkpoint.path,
    format: checkpoint.format,
    tensors: [...checkpoint.tensors.values()].map(({ name, dtype, shape }) => ({ name, dtype, shape })),
    metadata: checkpoint.metadata,
    ...(checkpoint.nodes && { nodes: checkpoint.nodes }),
  };
}

function describeNetwork(net: Network) {
  return {
    architecture: net.architecture?.name ?? null,
    head: net.head,
    labels: net.labelsSource === 'index' ? null : net.labels,
    preprocessing: net.preprocessing,
    loadReport: net.loadReport,
  };
}

function tensorTable(checkpoint: Checkpoint): string {
  const rows = [...checkpoint.tensors.values()].map((t) => [t.name, t.dtype, `[${t.shape.join(', ')}]`]);
  const tensors = textTable([['tensor', 'type', 'shape'], ...rows]);
  const nodes = checkpoint.nodes?.map(({ name, op, inputs, outputs }) => [
    op,
    name,
    inputs.join(' '),
    outputs.join(' '),
  ]);
  const parts = [
    `${checkpoint.path}: ${checkpoint.format}, ${rows.length} tensors${nodes ? `, ${nodes.length} nodes` : ''}`,
    tensors,
  ];
  if (nodes) parts.push(textTable([['node', 'name', 'reads', 'makes'], ...nodes]));
  return parts.join('\n\n');
}

function networkText(net: Network, checkpoint: Checkpoint): string {
  const p = net.preprocessing;
  const size = (value: number | readonly number[] | null) =>
    value === null ? '–' : Array.isArray(value) ? value.join(' x ') : String(value);
  const lines = [
    `${checkpoint.path}: ${net.name} (${checkpoint.format})`,
    `head           ${net.head.kind}, ${net.head.outputs} outputs at '${net.head.classifier}'`,
    `labels         ${net.labelsSource === 'index' ? 'none in the file: a label is its index' : shortList(net.labels)}`,
    p
      ? `preprocessing  resize ${size(p.resize)}, crop ${size(p.crop)}, ${p.interpolation}, mean ${p.mean.join(' ')}, std ${p.std.join(' ')} (${p.source})`
      : `preprocessing  ${net.graph.inputs[0]?.shape.length === 4 ? 'not said by the file: give --preprocessing' : 'none: not a network for pictures'}`,
    `weights        ${net.loadReport}`,
  ];
  return lines.join('\n');
}

const shortList = (names: readonly string[]) =>
  names.length > 8 ? `${names.slice(0, 6).join(', ')}, … (${names.length})` : names.join(', ');
