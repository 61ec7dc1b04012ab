import { fromArrays, fromGraph, GraphBuilder } from '../../dist/index.js';
import { absentRow, timeRow } from '../lib/case.mjs';
import { assertSame, interleave, quantile } from '../lib/measure.mjs';
import { writeNumbers } from '../lib/networks.mjs';
import { Torch } from '../lib/torch.mjs';

const ROWS = 10_000;
const WIDTH = 2048;
const CLASSES = 10;
const BATCH = 16;
/** Epochs timed of each fit; the one before them fills the cache and is left out. */
const EPOCHS = 3;
const NETWORK = 'linear head, 2048 to 10';
const GOAL = { must: 1.5, aim: 3 };
const PRECISION = 'fp32 on both sides';
/** The heads are drawn differently, and the rows shuffled. */
const TOLERANCE = 0.1;

/** Like pooled features of ResNet-50: not negative, about half of them small. */
function features() {
  const data = new Float32Array(ROWS * WIDTH);
  let state = 99;
  for (let i = 0; i < data.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    data[i] = Math.max(0, state / 2 ** 31 - 1);
  }
  return data;
}

/**
 * A head on features that come through the feature cache: the activation is a frozen part that gives what it gets, so that
 * its values are kept like those of a body.
 */
async function headOnFeatures() {
  const g = new GraphBuilder();
  const x = g.relu('body', g.input('features', 'f32', ['N', WIDTH]));
  return fromGraph(g.build([g.linear('fc', x, { in: WIDTH, out: CLASSES })]), { kind: 'single', outputs: CLASSES });
}

/** @type {import('../lib/case.mjs').Case} */
export default {
  name: 'P11',
  title: `an epoch of a linear head on ${ROWS} cached features of ${WIDTH} numbers, batch ${BATCH}, ${PRECISION}`,
  async run(context) {
    const peer = context.peers.torch;
    if (peer.absent) return [absentRow({ network: NETWORK, peer, ...GOAL })];
    context.note(`${NETWORK}: epochs on features in memory`);
    const data = features();
    const target = Int32Array.from({ length: ROWS }, (_, i) => i % CLASSES);
    const rows = fromArrays({ features: { data, shape: [ROWS, WIDTH] } }, { data: target, shape: [ROWS] });
    // Cached values are kept by the identity of their sample.
    const dataset = Object.assign(Object.create(rows), {
      get: async (i) => ({ ...(await rows.get(i)), id: `row ${i}` }),
    });
    const net = await headOnFeatures();
    const torch = new Torch();
    const losses = { thaw: 0, other: 0 };
    const sgd = { optimizer: 'sgd', learningRate: 1e-3, momentum: 0.9, weightDecay: 0, schedule: 'constant' };
    const thaw = async () => {
      const { epochs } = await net.fit(dataset, { ...sgd, epochs: 1 + EPOCHS, batch: BATCH });
      losses.thaw = epochs.at(-1).train.loss;
      return 1e3 * quantile(epochs.slice(1).map(({ seconds }) => seconds), 0.5); // prettier-ignore
    };
    const other = async () => {
      const answers = [];
      for (let i = 0; i < 1 + EPOCHS; i++) answers.push(await torch.ask('epoch', { batch: BATCH }));
      losses.other = answers.at(-1).loss;
      return quantile(answers.slice(1).map(({ ms }) => ms), 0.5); // prettier-ignore
    };
    try {
      const file = writeNumbers('features.f32', data);
      await torch.ask('linear', { features: file, rows: ROWS, width: WIDTH, classes: CLASSES });
      const measured = await interleave({ thaw, other }, { repeats: Math.min(5, context.repeats) });
      // Both have trained for as many epochs.
      assertSame('loss of a linear head', losses.thaw, losses.other, TOLERANCE);
      return [timeRow({ network: NETWORK, peer, ...measured, ...GOAL })];
    } finally {
      torch.close();
      net.dispose();
    }
  },
};
