import { predict as runPredict } from '../../train/predict.js';
import { textTable } from '../../report/text.js';
import { ANSWERS, answers, engine, number, text, UsageError } from '../flags.js';
import { readLabels } from '../labels.js';
import { loadNetwork } from '../load.js';
import type { CliCommand } from './command.js';

export const predict: CliCommand = {
  help: {
    name: 'predict',
    operands: 'MODEL PICTURE…',
    text: 'Says what is in pictures.',
    flags: [
      { name: 'top', kind: 'number', value: 'N', text: 'Labels shown a picture. Default 5.' },
      {
        name: 'labels',
        kind: 'text',
        value: 'LIST',
        text: "Names of the outputs, in place of the model's own: 'a,b,c' or a file with one a line.",
      },
      ...ANSWERS,
    ],
    examples: [
      'thaw predict vegetables.safetensors new.jpg',
      'thaw predict squeezenet1_1.pth panda.jpg --labels imagenet.txt --top 1 --json',
    ],
  },
  async run({ operands, values }, context) {
    const { output, signal } = context;
    const [model, ...pictures] = operands;
    if (!model || pictures.length === 0) throw new UsageError('expected MODEL and at least one PICTURE');
    const labels = readLabels(text(values, 'labels'));
    const top = number(values, 'top');
    if (top !== undefined && !(Number.isInteger(top) && top >= 1))
      throw new UsageError(`expected a whole number, 1 or more, for --top, received ${top}`);
    const net = await loadNetwork(model, context, {
      ...(labels && { labels }),
      ...answers(values),
      ...engine(values),
    });
    try {
      const results = await runPredict(net, pictures, { signal, ...(top !== undefined && { top }) });
      const predictions = pictures.map((file, i) =>
        net.head.kind === 'regression' ? { file, values: results[i] } : { file, labels: results[i] },
      );
      output.result({ predictions }, predictionTable(pictures, results as unknown as Answer[][]));
    } finally {
      net.dispose();
    }
  },
};

interface Answer {
  label: string;
  probability?: number;
  value?: number;
}

function predictionTable(pictures: string[], results: Answer[][]): string {
  const rows = pictures.flatMap((file, i) =>
    results[i]!.map((answer, rank) => [
      rank === 0 ? file : '',
      answer.probability === undefined
        ? String(Number(answer.value!.toPrecision(6)))
        : `${(answer.probability * 100).toFixed(1)} %`,
      answer.label,
    ]),
  );
  return textTable(rows, [1]);
}
