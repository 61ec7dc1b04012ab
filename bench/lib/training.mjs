// Training steps beside PyTorch, which runs in a process of its own and takes turns.
import { load } from '../../dist/index.js';
import { absentRow, timeRow } from './case.mjs';
import { assertSame, interleave } from './measure.mjs';
import { networkFiles, pictures, targets, writeNumbers } from './networks.mjs';
import { Torch } from './torch.mjs';

const BATCH = 16;

/**
 * @typedef {object} TrainingGoal
 * @property {string} network
 * @property {'fp32' | 'bf16'} precision of both sides; PyTorch's bf16 is its autocast
 * @property {string[]} layouts of PyTorch that are tried: the better one counts
 * @property {string[]} [train] modules of torchvision's network that are trained, all without it
 * @property {number} tolerance of the first step's loss, relative
 * @property {number} must
 * @property {number} aim
 */

/**
 * @param {TrainingGoal} goal
 * @param {import('./case.mjs').Context} context
 * @returns {Promise<import('./case.mjs').Row>}
 */
export async function besidePyTorch({ network, precision, layouts, train, tolerance, must, aim }, context) {
  const peer = context.peers.torch;
  if (peer.absent) return absentRow({ network, peer, must, aim });
  context.note(`${network}: training step, batch ${BATCH}, ${precision}`);
  const { pth } = await networkFiles(network);
  const batch = { image: pictures(BATCH), target: targets(BATCH) };
  const input = writeNumbers('training.f32', batch.image.data);
  const net = await load(pth, { precision });
  if (train) net.freeze();
  for (const module of train ?? ['']) net.unfreeze(`${module}*`);
  const update = { optimizer: 'sgd', learningRate: 1e-3, momentum: 0.9 };
  let seed = 0;
  const thaw = () => net.step(batch, { update, seed: seed++ });
  // A process for each network: PyTorch would keep the memory of the one before.
  const torch = new Torch();
  const other = (layout) => torch.ask('step', { name: network, layout, batch: BATCH, input });
  try {
    const all = { name: network, pth, train: train ?? ['.'], precision };
    for (const layout of layouts) await torch.ask('load', { ...all, layout });
    const { loss } = await thaw();
    for (const layout of layouts)
      assertSame(`loss of ${network} ${layout}`, loss, (await other(layout)).loss, tolerance);
    const sides = Object.fromEntries(layouts.map((layout) => [layout, async () => (await other(layout)).ms]));
    const timed = async () => void (await thaw());
    const measured = await interleave({ thaw: timed, ...sides }, { repeats: Math.ceil(context.repeats / 2) });
    const best = layouts.reduce((a, b) => (measured[a].median <= measured[b].median ? a : b));
    const mode = `${precision} ${best}`;
    return timeRow({ network, peer, mode, thaw: measured.thaw, other: measured[best], must, aim, pictures: BATCH });
  } finally {
    net.dispose();
    torch.close();
  }
}
