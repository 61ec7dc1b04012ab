import { load } from '../../dist/index.js';
import { absentRow, timeRow } from '../lib/case.mjs';
import { interleave } from '../lib/measure.mjs';
import { networkFiles, pictures, writeNumbers } from '../lib/networks.mjs';
import { Torch } from '../lib/torch.mjs';

const NETWORK = 'resnet50';
const BATCH = 16;
const GOAL = { network: NETWORK, must: 2.5, aim: 3.5 };

/** @type {import('../lib/case.mjs').Case} */
export default {
  name: 'P2',
  title: 'frozen forward of ResNet-50, batch 16, bf16 on both sides; PyTorch channels_last, weights cast to bf16',
  async run(context) {
    const peer = context.peers.torch;
    if (peer.absent) return [absentRow({ peer, ...GOAL })];
    context.note(`${NETWORK}: forward, batch ${BATCH}, bf16`);
    const { pth } = await networkFiles(NETWORK);
    const image = pictures(BATCH);
    const input = writeNumbers('forward.f32', image.data);
    const net = await load(pth, { precision: 'bf16' });
    const torch = new Torch();
    try {
      const layout = 'channels_last';
      await torch.ask('load', { name: NETWORK, layout, pth, train: [], precision: 'bf16' });
      const thaw = async () => void (await net.forward(image));
      const other = async () => (await torch.ask('forward', { name: NETWORK, layout, batch: BATCH, input })).ms;
      const measured = await interleave({ thaw, other }, { repeats: context.repeats });
      return [timeRow({ peer, mode: `bf16 ${layout}`, ...measured, ...GOAL, pictures: BATCH })];
    } finally {
      net.dispose();
      torch.close();
    }
  },
};
