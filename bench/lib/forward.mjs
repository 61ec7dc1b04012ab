// Forward passes beside onnxruntime-node, in one process: both get the same array of numbers and give an array.
import { createRequire } from 'node:module';
import { load } from '../../dist/index.js';
import { absentRow, timeRow } from './case.mjs';
import { THREADS } from './machine.mjs';
import { PAUSE_MS, assertSame, interleave, passesOfTurn, shortest } from './measure.mjs';
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
 * @returns {Promise<import('./case.mjs').Row[]>} short passes have a second row: one pass by itself, which no goal is about
 */
export async function besideOnnxRuntime({ network, precision, must, aim, batch = 16 }, context) {
  const peer = context.peers.onnxRuntime;
  if (peer.absent) return [absentRow({ network, peer, must, aim })];
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
    const sides = { thaw: timed(thaw), other: timed(other) };
    const passes = passesOfTurn([await shortest(sides.thaw), await shortest(sides.other)]);
    const { thaw: ours, other: theirs } = await interleave(sides, { repeats: context.repeats, passes });
    const remark = `thaw ${precision}, batch ${batch}`;
    const row = { network, peer, mode: 'fp32', thaw: ours, other: theirs, must, aim, pictures: batch };
    if (passes === 1) return [timeRow({ ...row, remark })];
    const rested = `${remark}, first pass after ${PAUSE_MS} ms of rest`;
    return [
      timeRow({ ...row, remark: `${remark}, passes in a row` }),
      timeRow({ network, peer, mode: 'fp32', thaw: ours.first, other: theirs.first, pictures: batch, remark: rested }),
    ];
  } finally {
    net.dispose();
    await session.release();
  }
}
