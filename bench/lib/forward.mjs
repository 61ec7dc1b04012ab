// Forward passes beside onnxruntime-node, in one process: both get the same array of numbers and give an array.
import { createRequire } from 'node:module';
import { load } from '../../dist/index.js';
import { absentRow, timeRow } from './case.mjs';
import { THREADS } from './machine.mjs';
import { assertSame, interleave } from './measure.mjs';
import { networkFiles, pictures, sideOf } from './networks.mjs';

/**
 * fp32: sums in another order, through fifty layers. bf16: random weights let rounding errors grow from layer to layer;
 * PyTorch's bf16 is off by as much.
 */
const TOLERANCES = { fp32: 1e-4, bf16: 0.15 };

export const SESSION = { intraOpNumThreads: THREADS, graphOptimizationLevel: 'all', executionMode: 'sequential' };

/**
 * @param {{ network: string, precision: 'fp32' | 'bf16', must: number, aim: number, batch?: number }} goal
 * @param {import('./case.mjs').Context} context
 * @returns {Promise<import('./case.mjs').Row>}
 */
export async function besideOnnxRuntime({ network, precision, must, aim, batch = 16 }, context) {
  const peer = context.peers.onnxRuntime;
  if (peer.absent) return absentRow({ network, peer, must, aim });
  context.note(`${network}: forward, batch ${batch}, ${precision}`);
  const { onnx, pth } = await networkFiles(network);
  const image = pictures(batch, sideOf(network));
  const { InferenceSession, Tensor } = createRequire(import.meta.url)('onnxruntime-node');
  const session = await InferenceSession.create(onnx, SESSION);
  const net = await load(pth, { precision });
  try {
    const thaw = async () => Object.values(await net.forward(image))[0].data;
    const other = async () =>
      (await session.run({ image: new Tensor('float32', image.data, image.shape) })).output.data;
    assertSame(`${network}, thaw beside onnxruntime`, await thaw(), await other(), TOLERANCES[precision]);
    const timed = (work) => async () => void (await work());
    const measured = await interleave({ thaw: timed(thaw), other: timed(other) }, { repeats: context.repeats });
    const remark = `thaw ${precision}, batch ${batch}`;
    return timeRow({ network, peer, mode: 'fp32', remark, ...measured, must, aim, pictures: batch });
  } finally {
    net.dispose();
    await session.release();
  }
}
