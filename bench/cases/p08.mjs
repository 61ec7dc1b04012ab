import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { absentRow, timeRow } from '../lib/case.mjs';
import { freshNode, freshPython } from '../lib/fresh.mjs';
import { interleave } from '../lib/measure.mjs';
import { CACHE } from '../lib/networks.mjs';
import { load } from '../../dist/index.js';

const SHARED = process.env.THAW_SHARED ?? fileURLToPath(new URL('../../../shared', import.meta.url));
const GOALS = { plain: { must: 8, aim: 15 }, cached: { must: 2.5, aim: 5 } };
/** 200 pictures: one is half a percent, and a head drawn anew moves several. */
const NOISE = 0.05;

/** What thaw chooses for the network on this machine. */
async function ownPrecision(weights) {
  const net = await load(weights);
  try {
    return (await net.compile('run', { image: [1, 3, 224, 224] })).precision;
  } finally {
    net.dispose();
  }
}

/** @type {import('../lib/case.mjs').Case} */
export default {
  name: 'P8',
  title:
    'whole job from the start of the process: 8 epochs of a new head for EuroSAT on SqueezeNet 1.1, saved; thaw in what it chooses by itself, PyTorch in fp32',
  async run(context) {
    const network = 'squeezenet1_1';
    const weights = path.join(SHARED, 'weights', network, `${network}.pth`);
    const data = path.join(SHARED, 'data', 'eurosat');
    const kinds = Object.keys(GOALS);
    const torch = context.peers.torch;
    const absent = torch.absent ?? (existsSync(weights) && existsSync(data) ? undefined : `no data in ${SHARED}`);
    if (absent) return kinds.map((kind) => absentRow({ network, peer: { ...torch, absent }, ...GOALS[kind] }));
    mkdirSync(CACHE, { recursive: true });
    const precision = await ownPrecision(weights);
    const epochs = context.quick ? 1 : 8;
    context.note(`EuroSAT: whole jobs in fresh processes, ${epochs} epochs`);
    const accuracy = {};
    const side = (name, work) => async () => {
      const { ms, answer } = await work();
      (accuracy[name] ??= []).push(answer.accuracy);
      return ms;
    };
    const out = path.join(CACHE, 'eurosat');
    const python = (kind) => side(kind, () => freshPython('eurosat.py', kind, epochs, weights, data, `${out}.pth`));
    const measured = await interleave(
      {
        thaw: side('thaw', () => freshNode('eurosat.mjs', epochs, weights, data, `${out}.safetensors`)),
        plain: python('plain'),
        cached: python('cached'),
      },
      { repeats: context.quick ? 1 : Math.min(5, context.repeats), warmUp: context.quick ? 0 : 1 },
    );
    const mean = (name) => accuracy[name].reduce((a, b) => a + b, 0) / accuracy[name].length;
    return kinds.map((kind) => {
      // After one epoch of a quick run the accuracy still depends on the draw of the head.
      if (!context.quick && mean('thaw') < mean(kind) - NOISE)
        throw new Error(`expected thaw's accuracy near ${mean(kind)}, received ${mean('thaw')}`);
      const remark = `thaw ${precision}, PyTorch fp32, ${epochs} epochs; accuracy ${(100 * mean('thaw')).toFixed(1)}% beside ${(100 * mean(kind)).toFixed(1)}%`;
      const rest = { network, peer: torch, mode: kind, remark, ...GOALS[kind] };
      return timeRow({ thaw: measured.thaw, other: measured[kind], ...rest });
    });
  },
};
