import { exportOnnx } from '../../network/export-onnx.js';
import { load } from '../../network/load.js';
import { UsageError } from '../flags.js';
import type { CliCommand } from './command.js';

export const exportCommand: CliCommand = {
  help: {
    name: 'export',
    operands: 'MODEL OUT.onnx',
    text: 'Writes a network as an ONNX model for other runtimes, with its labels and preprocessing in the metadata.',
    flags: [],
    examples: ['thaw export vegetables.safetensors vegetables.onnx'],
  },
  async run({ operands }, { output, signal }) {
    const [model, out, ...more] = operands;
    if (!model || !out || more.length > 0) throw new UsageError('expected MODEL and OUT.onnx');
    if (!out.endsWith('.onnx')) throw new UsageError(`expected a name that ends in .onnx for OUT, received '${out}'`);
    const net = await load(model, { signal });
    try {
      const { bytes } = await exportOnnx(net, out, { signal });
      output.result({ out, bytes }, `Wrote '${out}', ${(bytes / 1e6).toFixed(1)} MB.`);
    } finally {
      net.dispose();
    }
  },
};
