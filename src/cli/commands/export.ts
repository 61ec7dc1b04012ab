import { exportOnnx } from '../../network/export-onnx.js';
import { exportTfjs } from '../../network/export-tfjs.js';
import { ANSWERS, answers, UsageError } from '../flags.js';
import { loadNetwork } from '../load.js';
import type { CliCommand } from './command.js';

export const exportCommand: CliCommand = {
  help: {
    name: 'export',
    operands: 'MODEL OUT',
    text: 'Writes a network for other runtimes, with its labels and preprocessing in the metadata: as an ONNX model, the file OUT.onnx, or as a layers model of TensorFlow.js, the new folder OUT.',
    flags: [
      {
        name: 'format',
        kind: 'text',
        value: 'FORMAT',
        text: "'onnx' or 'tfjs'. Default: 'onnx', for which OUT must end in .onnx.",
      },
      ...ANSWERS,
    ],
    examples: [
      'thaw export vegetables.safetensors vegetables.onnx',
      'thaw export vegetables.safetensors vegetables-web --format tfjs',
    ],
  },
  async run({ operands, values }, context) {
    const { output, signal } = context;
    const [model, out, ...more] = operands;
    const format = values['format'] ?? 'onnx';
    if (!model || !out || more.length > 0) throw new UsageError('expected MODEL and OUT');
    if (format !== 'onnx' && format !== 'tfjs')
      throw new UsageError(`expected onnx or tfjs for --format, received '${String(format)}'`);
    if (format === 'onnx' && !out.endsWith('.onnx'))
      throw new UsageError(`expected a name that ends in .onnx for OUT, received '${out}'`);
    const net = await loadNetwork(model, context, answers(values));
    try {
      const { bytes } = await (format === 'onnx' ? exportOnnx : exportTfjs)(net, out, { signal });
      output.result({ out, bytes }, `Wrote '${out}', ${(bytes / 1e6).toFixed(1)} MB.`);
    } finally {
      net.dispose();
    }
  },
};
