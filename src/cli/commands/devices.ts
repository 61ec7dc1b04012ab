import { devices } from '../../network/device.js';
import type { Devices } from '../../network/device.js';
import { textTable } from '../../report/text.js';
import { UsageError } from '../flags.js';
import type { CliCommand } from './command.js';

export const devicesCommand: CliCommand = {
  help: {
    name: 'devices',
    operands: '',
    text: 'Shows what this machine can compute with: the processor with its instruction sets, and the GPUs; where no GPU can be used, why.',
    flags: [],
    examples: ['thaw devices', 'thaw devices --json'],
  },
  async run({ operands }, { output, signal }) {
    if (operands.length > 0) throw new UsageError('expected no operands');
    const found = await devices({ signal });
    output.result(found, deviceTable(found));
  },
};

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;

/** A row a device, then versions of CUDA and why there is no GPU. */
export function deviceTable({ processor, gpus, why, driver, needed }: Devices): string {
  const { device, model, threads, isas } = processor;
  const rows = [
    ['device', 'name', 'units', 'instructions', 'memory'],
    [device, model, `${threads} ${threads === 1 ? 'thread' : 'threads'}`, isas.join(', '), ''],
    ...gpus.map((gpu) => [
      gpu.device,
      gpu.name,
      `${gpu.multiprocessors} multiprocessors`,
      `compute capability ${gpu.computeCapability}${gpu.usable ? '' : ' (too old)'}`,
      gigabytes(gpu.memory),
    ]),
  ];
  return [
    textTable(rows, [4]),
    ...(driver ? ['', `The driver is for CUDA ${driver}; thaw-cuda needs ${needed} or later.`] : []),
    ...(why ? ['', `No GPU can be used: ${why}`] : []),
  ].join('\n');
}
