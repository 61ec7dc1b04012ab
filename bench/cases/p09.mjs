import { absentRow, timeRow } from '../lib/case.mjs';
import { freshNode, freshPython } from '../lib/fresh.mjs';
import { interleave } from '../lib/measure.mjs';
import { networkFiles, writeNumbers } from '../lib/networks.mjs';

const NETWORK = 'resnet50';

/** A picture of 256 x 256: the network's preprocessing only crops it, so that no two ways to resize are compared. */
function pixels() {
  const data = new Uint8Array(256 * 256 * 3);
  for (let i = 0; i < data.length; i++) data[i] = (i * 7919 + (i >> 5) * 31) & 255;
  return writeNumbers('pixels.u8', data);
}

/** @type {import('../lib/case.mjs').Case} */
export default {
  name: 'P9',
  title: 'start of the process, load of ResNet-50, first prediction on raw pixels; warm page cache; fp32 on all sides',
  async run(context) {
    const { torch, onnxRuntime } = context.peers;
    const goals = [
      { side: 'onnxRuntime', peer: onnxRuntime, must: 1.5, aim: 3 },
      { side: 'torch', peer: torch, must: 5, aim: 10 },
    ];
    if (torch.absent) return goals.map(({ peer, ...goal }) => absentRow({ network: NETWORK, peer: torch, ...goal }));
    context.note(`${NETWORK}: first predictions in fresh processes`);
    const { pth, onnx, safetensors } = await networkFiles(NETWORK);
    const picture = pixels();
    const seen = new Set();
    const side = (work) => async () => {
      const { ms, answer } = await work();
      seen.add(answer.index);
      return ms;
    };
    const measured = await interleave(
      {
        thaw: side(() => freshNode('first.mjs', safetensors, picture)),
        ...(!onnxRuntime.absent && { onnxRuntime: side(() => freshNode('first-onnxruntime.mjs', onnx, picture)) }),
        torch: side(() => freshPython('first.py', pth, picture)),
      },
      { repeats: context.repeats },
    );
    if (seen.size !== 1) throw new Error(`expected one prediction from all sides, received ${[...seen].join(', ')}`);
    return goals.map(({ side, peer, ...goal }) =>
      peer.absent
        ? absentRow({ network: NETWORK, peer, ...goal })
        : timeRow({ network: NETWORK, peer, thaw: measured.thaw, other: measured[side], ...goal }),
    );
  },
};
