import { writeFile, rename } from 'node:fs/promises';
import { features as runFeatures } from '../../train/features.js';
import { ANSWERS, answers, engine, text, UsageError } from '../flags.js';
import { loadNetwork } from '../load.js';
import type { CliCommand } from './command.js';

export const features: CliCommand = {
  help: {
    name: 'features',
    operands: 'MODEL PICTURE…',
    text: 'What the body makes of pictures: one row of numbers a picture, for search, clustering or a classifier of your own.',
    flags: [
      {
        name: 'layer',
        kind: 'text',
        value: 'NAME',
        text: 'Value to take, averaged over the picture. Default: what the head reads.',
      },
      {
        name: 'out',
        kind: 'text',
        value: 'FILE',
        text: 'Write JSON lines {file, features} there instead of printing them.',
      },
      ...ANSWERS,
    ],
    examples: [
      'thaw features squeezenet1_1.pth a.jpg b.jpg --json',
      'thaw features resnet50.pth photos/*.jpg --out features.jsonl',
    ],
  },
  async run({ operands, values }, context) {
    const { output, signal } = context;
    const [model, ...pictures] = operands;
    if (!model || pictures.length === 0) throw new UsageError('expected MODEL and at least one PICTURE');
    const net = await loadNetwork(model, context, { ...answers(values), ...engine(values) });
    try {
      const layer = text(values, 'layer');
      const { data, shape } = await runFeatures(net, pictures, { signal, ...(layer !== undefined && { layer }) });
      const width = shape.slice(1).reduce((a, b) => a * b, 1);
      const rows = pictures.map((file, i) => ({
        file,
        features: Array.from(data.subarray(i * width, (i + 1) * width)),
      }));
      const lines = rows.map((row) => JSON.stringify(row)).join('\n');
      const out = text(values, 'out');
      if (out === undefined) return output.result({ shape, rows }, lines);
      await writeFile(`${out}.partial`, `${lines}\n`);
      await rename(`${out}.partial`, out);
      output.result({ out, shape }, `Wrote ${rows.length} rows of ${width} numbers to '${out}'.`);
    } finally {
      net.dispose();
    }
  },
};
