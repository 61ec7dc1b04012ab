/** Networks as layers models of TensorFlow.js, read back by TensorFlow.js itself where it is installed, and by thaw. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { GraphBuilder } from '../../src/graph/builder.js';
import { create, fromGraph } from '../../src/network/create.js';
import { exportTfjs } from '../../src/network/export-tfjs.js';
import { load } from '../../src/network/load.js';
import type { Network } from '../../src/network/network.js';
import type { Tensor } from '../../src/network/types.js';
import { hasTfjs, runTfjs } from '../tfjs.js';
import { folder } from './files.js';

/** Relative to the largest score. */
const TOLERANCE = 1e-4;

function waves(shape: number[]): Tensor {
  const count = shape.reduce((a, b) => a * b, 1);
  return { data: Float32Array.from({ length: count }, (_, i) => Math.sin(i * 0.7) + Math.cos(i * 0.013)), shape };
}

function difference(a: Tensor, b: Tensor): number {
  expect(a.shape).toEqual(b.shape);
  const largest = Math.max(...Array.from(b.data as Float32Array, Math.abs));
  return Math.max(...Array.from(a.data as Float32Array, (v, i) => Math.abs(v - (b.data[i] as number)))) / largest;
}

const scores = async (net: Network, x: Tensor): Promise<Tensor> => Object.values(await net.forward(x))[0]!;

/** Other numbers than those that batch norms begin with. */
async function shaken(net: Network): Promise<void> {
  for (const { name, shape } of net.graph.states.filter((state) => state.dtype === 'f32')) {
    const count = shape.reduce((a, b) => a * b, 1);
    const positive = name.endsWith('var') ? 1 : 0;
    await net.setTensor(name, {
      data: Float32Array.from({ length: count }, (_, i) => positive + 0.3 * Math.sin(i)),
      shape,
    });
  }
}

/** Every operator that TensorFlow.js has layers for. */
async function everything(): Promise<Network> {
  const g = new GraphBuilder();
  const image = g.input('image', 'f32', ['N', 3, 16, 16]);
  let x = g.conv2d('conv', image, { in: 3, out: 8, kernel: 3, padding: [1, 0, 2, 1] });
  x = g.batchNorm('bn', x, 8);
  x = g.batchNorm('plain', x, 8, { affine: false });
  for (const op of ['relu6', 'hardSwish', 'hardSigmoid', 'silu', 'sigmoid', 'tanh', 'relu'] as const)
    x = g.add(`${op}.add`, x, g[op](op, x));
  x = g.leakyRelu('leaky', g.scale('scale', x, { factor: -0.5 }), { alpha: 0.2 });
  x = g.conv2d('depthwise', x, { in: 8, out: 16, kernel: [3, 5], stride: 2, padding: [1, 2], groups: 8 });
  x = g.averagePool('average', x, { kernel: 2, stride: 1, padding: 1 });
  x = g.relu('last', g.conv2d('dilated', x, { in: 16, out: 6, kernel: 3, dilation: 2, padding: 2, bias: false }));
  x = g.maxPool('max', x, { kernel: 3, stride: 2, padding: 1, ceilMode: true });
  x = g.multiply('gate', x, g.sigmoid('open', g.globalAveragePool('squeeze', x)));
  x = g.pad('pad', x, [0, 1, 1, 0, 0, 2, 0, 1]);
  x = g.concat('cat', [x, g.slice('odd', x, { axis: 1, start: 1, end: -1, step: 2 })]);
  x = g.slice('rows', x, { axis: 2, start: 1, step: 2 });
  x = g.slice('columns', x, { axis: 3, end: -1 });
  x = g.adaptiveAveragePool('adaptive', x, [3, 1]);
  x = g.linear('fc', g.dropout('drop', g.flatten('flat', x)), { in: 39, out: 5 });
  const net = await fromGraph(g.build([x]), { labels: ['a', 'b', 'c', 'd', 'e'] });
  await shaken(net);
  return net;
}

describe('exportTfjs', () => {
  it('writes what load reads back, with labels and preprocessing', async () => {
    using net = await create('squeezenet1_1', { labels: ['cat', 'dog'] });
    const path = join(folder, 'back');
    const { bytes } = await exportTfjs(net, path);
    expect(bytes).toBeGreaterThan(2_900_000);
    using back = await load(join(path, 'model.json'));
    const x = waves([2, 3, 64, 64]);
    expect(difference(await scores(back, x), await scores(net, x))).toBeLessThan(TOLERANCE);
    expect(back.labels).toEqual(['cat', 'dog']);
    expect(back.preprocessing).toEqual({ ...net.preprocessing, source: 'file' });
  });

  it('names the node that has no layer, and leaves nothing behind where it fails', async () => {
    using net = await create('resnext50_32x4d');
    const path = join(folder, 'grouped');
    await expect(exportTfjs(net, path)).rejects.toMatchObject({
      code: 'ERR_TFJS_EXPORT',
      message: expect.stringMatching(/node 'layer1\.0\.conv2'.*32 groups/),
    });
    expect(existsSync(path)).toBe(false);
    using small = await create('cifar_resnet20');
    await expect(exportTfjs(small, join(folder, 'no/such'))).rejects.toMatchObject({ code: 'ERR_FILE_WRITE' });
    mkdirSync(join(folder, 'full'));
    writeFileSync(join(folder, 'full', 'mine.txt'), 'mine');
    await expect(exportTfjs(small, join(folder, 'full'))).rejects.toMatchObject({ code: 'ERR_FILE_WRITE' });
    expect(readdirSync(join(folder, 'full'))).toEqual(['mine.txt']);
    const aborted = exportTfjs(small, join(folder, 'aborted'), { signal: AbortSignal.abort() });
    await expect(aborted).rejects.toMatchObject({ code: 'ERR_ABORTED' });
    expect(readdirSync(folder).filter((name) => name.endsWith('.partial'))).toEqual([]);
  });

  it('does not take zeros for what is below them', async () => {
    const g = new GraphBuilder();
    const pooled = g.maxPool('pool', g.input('image', 'f32', ['N', 3, 8, 8]), { kernel: 3, padding: 1 });
    using net = await fromGraph(g.build([g.flatten('flat', g.globalAveragePool('gap', pooled))]));
    await expect(exportTfjs(net, join(folder, 'below'))).rejects.toMatchObject({ code: 'ERR_TFJS_EXPORT' });
  });

  it.skipIf(!hasTfjs)('gives TensorFlow.js the same numbers: every operator', async () => {
    using net = await everything();
    const path = join(folder, 'everything');
    await exportTfjs(net, path);
    const x = waves([3, 3, 16, 16]);
    expect(difference(await runTfjs(path, x), await scores(net, x))).toBeLessThan(TOLERANCE);
  });

  it.skipIf(!hasTfjs).each(['squeezenet1_1', 'mobilenet_v2', 'cifar_resnet20', 'resnet18'])(
    'gives TensorFlow.js the same numbers: %s',
    async (name) => {
      using net = await create(name);
      await shaken(net);
      const path = join(folder, `${name}-tfjs`);
      await exportTfjs(net, path);
      // Squeezenet's pools with ceil_mode bind it to its size.
      const side = name === 'squeezenet1_1' ? 224 : Math.min(64, net.input!.height);
      const x = waves([1, 3, side, side]);
      expect(difference(await runTfjs(path, x), await scores(net, x))).toBeLessThan(TOLERANCE);
    },
  );
});
