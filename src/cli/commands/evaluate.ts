import { imageFolder } from '../../data/folder.js';
import { formatMetrics } from '../../train/format.js';
import { evaluate as runEvaluate } from '../../train/evaluate.js';
import { ANSWERS, answers, choice, engine, flag, number, text, UsageError } from '../flags.js';
import { readLabels } from '../labels.js';
import { loadNetwork } from '../load.js';
import type { CliCommand } from './command.js';

export const evaluate: CliCommand = {
  help: {
    name: 'evaluate',
    operands: 'MODEL DIR',
    text: 'Measures a network on labelled pictures: accuracy, precision and recall of each label, confusion matrix, loss. DIR is as for fit; of a DIR with parts, test/ is taken, else val/, else all of it.',
    flags: [
      { name: 'part', kind: 'text', value: 'NAME', text: 'train, val or test.' },
      {
        name: 'labels',
        kind: 'text',
        value: 'LIST',
        text: "Names of the outputs, in place of the model's own: 'a,b,c' or a file with one a line.",
      },
      { name: 'batch', kind: 'number', value: 'N', text: 'Pictures at a time. Default 32.' },
      { name: 'strict', kind: 'switch', text: 'Stop at the first file that cannot be read.' },
      ...ANSWERS,
    ],
    examples: [
      'thaw evaluate vegetables.safetensors photos',
      'thaw evaluate vegetables.safetensors photos --part test --json',
    ],
  },
  async run({ operands, values }, context) {
    const { output, signal } = context;
    const [model, dir, ...more] = operands;
    if (!model || !dir || more.length > 0) throw new UsageError('expected MODEL and DIR');
    const labels = readLabels(text(values, 'labels'));
    const net = await loadNetwork(model, context, {
      ...(labels && { labels }),
      ...answers(values),
      ...engine(values),
    });
    try {
      const strict = flag(values, 'strict') ?? false;
      const known = net.head.kind === 'regression' ? {} : { labels: net.labels };
      const data = await imageFolder(dir, { signal, strict, validation: 0, training: false, ...known });
      data.report.warnings.forEach((warning) => output.warn(warning));
      const part =
        choice(values, 'part', ['train', 'val', 'test']) ?? (data.test ? 'test' : data.val ? 'val' : 'train');
      const pictures = data[part];
      if (!pictures) throw new UsageError(`expected a folder '${part}' in '${dir}'`);
      const batch = number(values, 'batch');
      const metrics = await runEvaluate(net, pictures, {
        signal,
        strict,
        ...(batch !== undefined && { batch }),
        progress: (done, total) => output.progress('evaluating', done, total),
      });
      const { skipped, ...measured } = metrics;
      const accuracy = measured.kind === 'single' ? { accuracy: measured.accuracy } : {};
      output.result(
        { part, pictures: pictures.length, ...accuracy, loss: measured.loss, metrics: measured, skipped },
        formatMetrics(metrics),
      );
    } finally {
      net.dispose();
    }
  },
};
