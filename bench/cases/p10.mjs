import { absentRow } from '../lib/case.mjs';
import { freshNode, freshPython } from '../lib/fresh.mjs';
import { interleave } from '../lib/measure.mjs';
import { networkFiles } from '../lib/networks.mjs';

const NETWORK = 'resnet50';
const MIB = 2 ** 20;

/** Peaks in bytes of fresh processes. */
const peak = (work) => async () => (await work()).answer.bytes;

function memoryRow({ peer, mode, thaw, other, ...goal }) {
  return {
    network: NETWORK,
    peer,
    mode,
    unit: 'MiB',
    thaw: thaw.median / MIB,
    value: other.median / MIB,
    ratio: thaw.median / other.median,
    spread: Math.max(thaw.spread, other.spread),
    share: true,
    ...goal,
  };
}

/** @type {import('../lib/case.mjs').Case} */
export default {
  name: 'P10',
  title:
    'peak resident memory of ResNet-50, batch 16: a training step in bf16 beside PyTorch’s autocast, a forward pass in bf16 beside onnxruntime-node’s fp32',
  async run(context) {
    const { torch, onnxRuntime } = context.peers;
    const step = { must: 0.6, aim: 0.4, mode: 'step, the leaner layout' };
    const forward = { must: 1, aim: 0.6, mode: 'forward' };
    if (torch.absent) return [step, forward].map((goal) => absentRow({ network: NETWORK, peer: torch, ...goal }));
    context.note(`${NETWORK}: peak memory in fresh processes`);
    const { pth, onnx } = await networkFiles(NETWORK);
    const sides = {
      step: peak(() => freshNode('memory.mjs', 'step', pth)),
      contiguous: peak(() => freshPython('memory.py', 'contiguous', pth)),
      channels_last: peak(() => freshPython('memory.py', 'channels_last', pth)),
      forward: peak(() => freshNode('memory.mjs', 'forward', pth)),
      ...(!onnxRuntime.absent && { onnxRuntime: peak(() => freshNode('memory-onnxruntime.mjs', onnx)) }),
    };
    // Memory hardly varies.
    const measured = await interleave(sides, { repeats: context.quick ? 1 : 3, warmUp: 0 });
    const { contiguous, channels_last: last } = measured;
    const leaner = last.median < contiguous.median ? last : contiguous;
    return [
      memoryRow({ peer: torch, thaw: measured.step, other: leaner, ...step }),
      onnxRuntime.absent
        ? absentRow({ network: NETWORK, peer: onnxRuntime, ...forward })
        : memoryRow({ peer: onnxRuntime, thaw: measured.forward, other: measured.onnxRuntime, ...forward }),
    ];
  },
};
