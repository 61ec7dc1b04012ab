import sharp from 'sharp';
import type { RawPicture } from '../../data/types.js';
import { htmlPage } from '../../report/page.js';
import type { Figure } from '../../report/page.js';
import { chartSvg } from '../../report/svg.js';
import { percent } from '../../report/text.js';
import { METHODS } from './experiment.js';
import type { DemoResult, Example } from './experiment.js';
import { SOURCE_KINDS } from './kinds.js';
import { summariseMethod } from './statistics.js';

/** Pictures are small: they are shown this many times larger, pixel by pixel. */
const ZOOM = 3;

async function figure({ data, width, height, channels }: RawPicture, caption: string): Promise<Figure> {
  const bytes = await sharp(data, { raw: { width, height, channels } })
    .resize(width * ZOOM, height * ZOOM, { kernel: 'nearest' })
    .png()
    .toBuffer();
  return { bytes, type: 'image/png', width: width * ZOOM, caption };
}

const answerOf = ({ truth, answer, probability }: Example) =>
  `${answer === truth ? '✓' : '✗'} ${answer} ${Math.round(probability * 100)} %${answer === truth ? '' : ` (${truth})`}`;

/** The demo's page: what was drawn, the table, how accuracy grew, and what the fine-tuned network answers. */
export async function demoPage(result: DemoResult): Promise<string> {
  const { source, target, trials } = result;
  const rows = METHODS.map((method) => {
    const { accuracy, seconds, trainable } = summariseMethod(trials, method);
    const spread = `${percent(accuracy.mean)} ± ${(100 * accuracy.deviation).toFixed(1)}`;
    return [method, spread, `${seconds.toFixed(1)} s`, String(trainable)];
  });
  const series = METHODS.map((method) => {
    const curve = trials.find((trial) => trial.method === method && trial.curve.length > 0)?.curve ?? [];
    return { name: method, points: curve.map((accuracy, i) => [i + 1, accuracy] as const) };
  });
  const draws = new Set(trials.map((trial) => trial.seed)).size;
  return htmlPage('thaw: the demo', [
    {
      kind: 'paragraph',
      text: `A small network learned ${source.kinds} kinds of drawn vegetables, fruits and leaves from ${source.pictures} pictures in ${source.seconds.toFixed(0)} s: ${percent(source.accuracy)} on ${source.heldOut} pictures held out (guessing: ${percent(source.baseline)}).`,
    },
    { kind: 'figures', figures: await Promise.all(source.examples.map((p, i) => figure(p, SOURCE_KINDS[i]!.label))) },
    { kind: 'heading', text: `From there to ${target.kinds.join(' and ')}` },
    {
      kind: 'table',
      head: ['', 'accuracy', 'time', 'trained numbers'],
      rows: [['majority class', percent(target.majority), '', ''], ...rows],
      caption: `${target.training} pictures to learn from, accuracy on ${target.heldOut} others, mean and deviation of ${draws} draws. From scratch: twice the passes of the fine-tuned network, at the best of four learning rates.`,
    },
    {
      kind: 'figures',
      figures: [
        {
          svg: chartSvg(series, {
            title: 'Accuracy on held-out pictures, first draw',
            xLabel: 'epoch',
            yLabel: 'accuracy',
          }),
        },
      ],
    },
    { kind: 'heading', text: 'Answers of the fine-tuned network' },
    { kind: 'figures', figures: await Promise.all(result.examples.map((e) => figure(e.picture, answerOf(e)))) },
  ]);
}
