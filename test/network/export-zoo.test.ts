/**
 * Networks of the zoo to ONNX: onnxruntime gives the same scores and the same best label, before and after training.
 * Those of more than 30 million numbers only repeat the layers of the smaller ones, and take minutes:
 * `THAW_ZOO=all npx vitest run test/network/export-zoo.test.ts` runs them too.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { create, exportOnnx, fromArrays } from '../../src/index.js';
import type { Network, Tensor } from '../../src/index.js';
import { architectures, build } from '../../src/zoo/index.js';
import { hasOnnxRuntime, runOnnx } from '../onnxruntime.js';
import { folder } from './files.js';

/** Relative to the largest score. */
const TOLERANCE = 1e-4;
const ALL = process.env['THAW_ZOO'] === 'all';

const size = (name: string): number =>
  build(name).graph.parameters.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
// AlexNet stands for the VGGs: its classifier is as wide, behind an adaptive pool to more than one pixel.
const left = ALL ? [] : architectures().filter((name) => name !== 'alexnet' && size(name) > 30e6);
if (left.length > 0) console.log(`not run without THAW_ZOO=all: ${left.join(', ')}`);
const networks = architectures().filter((name) => !left.includes(name));

function pictures(count: number, side: number): Tensor {
  const shape = [count, 3, side, side];
  const data = Float32Array.from(
    { length: count * 3 * side * side },
    (_, i) => Math.sin(i * 0.7) + Math.cos(i * 0.013),
  );
  return { data, shape };
}

/** 64 pixels, or the usual size where the network needs that: an adaptive pool to more than one pixel, or many strides. */
async function sideFor(net: Network): Promise<number> {
  const fixed = net.graph.nodes.some(
    ({ op, attrs }) => op === 'adaptive_average_pool' && (attrs!['output_size'] as number[]).some((size) => size > 1),
  );
  const usual = net.input!.height;
  if (fixed || usual < 64) return usual;
  return net.forward(pictures(1, 64)).then(
    () => 64,
    () => usual,
  );
}

async function agrees(net: Network, side: number): Promise<void> {
  const path = join(folder, `${net.name}.onnx`);
  try {
    await exportOnnx(net, path);
    const x = pictures(2, side);
    const [got, wanted] = [Object.values(await net.forward(x))[0]!, await runOnnx(path, x)];
    expect(got.shape).toEqual(wanted.shape);
    const [a, b] = [got.data as Float32Array, wanted.data as Float32Array];
    const largest = Math.max(...b.map(Math.abs));
    expect(Math.max(...a.map((v, i) => Math.abs(v - b[i]!))) / largest).toBeLessThan(TOLERANCE);
    const classes = got.shape[1]!;
    for (const row of [0, 1]) {
      const [mine, theirs] = [a, b].map((all) => all.subarray(row * classes, (row + 1) * classes));
      const best = theirs!.indexOf(Math.max(...theirs!));
      // The same label, but for ties within the tolerance.
      expect(Math.max(...mine!) - mine![best]!).toBeLessThan(2 * TOLERANCE * largest);
    }
  } finally {
    rmSync(path, { force: true });
  }
}

/** One update of everything but the classifier; batch norms take the batch's statistics into theirs. */
async function update(net: Network, side: number): Promise<void> {
  net.freeze(net.head.classifier);
  const target = { data: Int32Array.of(0, 1), shape: [2] };
  await net.step({ image: pictures(2, side), target }, { update: { optimizer: 'sgd', learningRate: 1e-3 } });
}

describe.skipIf(!hasOnnxRuntime)('the zoo in onnxruntime', () => {
  it.each(networks)('%s', async (name) => {
    using net = await create(name, { labels: ['a', 'b', 'c', 'd', 'e'] });
    const side = await sideFor(net);
    await agrees(net, side);
    await update(net, side);
    await agrees(net, side);
  });

  it('a fine-tuned network with a new head', async () => {
    using net = await create('mobilenet_v2');
    net.freeze();
    net.replaceHead({ labels: ['up', 'down'] });
    const x = pictures(16, 64);
    const data = fromArrays(
      x,
      Array.from({ length: 16 }, (_, i) => i % 2),
      { labels: ['up', 'down'] },
    );
    await net.fineTune(data, { freezeEpochs: 2, epochs: 3, batch: 8 });
    await agrees(net, 64);
  });
});
