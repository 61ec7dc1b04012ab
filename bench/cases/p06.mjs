import { load } from '../../dist/index.js';
import { absentRow, timeRow } from '../lib/case.mjs';
import { assertSame, interleave } from '../lib/measure.mjs';
import { networkFiles, pictures, targets, writeNumbers } from '../lib/networks.mjs';
import { Torch } from '../lib/torch.mjs';

const BATCH = 16;
const LAYOUTS = ['contiguous', 'channels_last'];
const GOAL = { must: 2, aim: 3 };
/** Losses of the first step. Dropout, which MobileNetV2 has before its last layer, draws differently on both sides. */
const TOLERANCE = { resnet18: 1e-3, resnet50: 1e-3, mobilenet_v2: 0.05 };

async function trainingStep(network, context, torch) {
  const peer = context.peers.torch;
  context.note(`${network}: training step, batch ${BATCH}`);
  const { pth } = await networkFiles(network);
  const batch = { image: pictures(BATCH), target: targets(BATCH) };
  const input = writeNumbers('training.f32', batch.image.data);
  const net = await load(pth);
  net.unfreeze();
  const update = { optimizer: 'sgd', learningRate: 1e-3, momentum: 0.9 };
  let seed = 0;
  const thaw = () => net.step(batch, { update, seed: seed++ });
  const other = (layout) => torch.ask('step', { name: network, layout, batch: BATCH, input });
  try {
    for (const layout of LAYOUTS) await torch.ask('load', { name: network, layout, pth, train: true });
    const { loss } = await thaw();
    for (const layout of LAYOUTS)
      assertSame(`loss of ${network} ${layout}`, loss, (await other(layout)).loss, TOLERANCE[network]);
    const sides = Object.fromEntries(LAYOUTS.map((layout) => [layout, async () => (await other(layout)).ms]));
    const timed = async () => void (await thaw());
    const measured = await interleave({ thaw: timed, ...sides }, { repeats: Math.ceil(context.repeats / 2) });
    const best = LAYOUTS.reduce((a, b) => (measured[a].median <= measured[b].median ? a : b));
    return timeRow({ network, peer, mode: best, thaw: measured.thaw, other: measured[best], ...GOAL, pictures: BATCH });
  } finally {
    net.dispose();
  }
}

/** @type {import('../lib/case.mjs').Case} */
export default {
  name: 'P6',
  title: 'full training step, batch 16, batch statistics, fp32 on both sides; the better of PyTorch’s layouts',
  async run(context) {
    const networks = ['resnet50', 'resnet18', 'mobilenet_v2'];
    const peer = context.peers.torch;
    if (peer.absent) return networks.map((network) => absentRow({ network, peer, ...GOAL }));
    const rows = [];
    for (const network of networks) {
      // A process for each network: PyTorch would keep the memory of the one before.
      const torch = new Torch();
      rows.push(await trainingStep(network, context, torch));
      torch.close();
    }
    return rows;
  },
};
