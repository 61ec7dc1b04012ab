/** Networks to and from ONNX, on the real core; onnxruntime is the oracle where it is installed. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { writeOnnx } from '../../src/formats/onnx-export.js';
import { GraphBuilder } from '../../src/graph/builder.js';
import { create, fromGraph } from '../../src/network/create.js';
import { exportOnnx } from '../../src/network/export-onnx.js';
import { load } from '../../src/network/load.js';
import type { Network } from '../../src/network/network.js';
import type { Tensor } from '../../src/network/types.js';
import { hasOnnxRuntime, runOnnx } from '../onnxruntime.js';
import { sharedPath } from '../shared.js';
import { folder } from './files.js';

/** Relative to the largest score. */
const TOLERANCE = 1e-5;

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

/** Every operator that a user's graph can have on pictures. */
function everything(): Network | Promise<Network> {
  const g = new GraphBuilder();
  const image = g.input('image', 'f32', ['N', 3, 16, 16]);
  let x = g.conv2d('conv', image, { in: 3, out: 8, kernel: 3, padding: [1, 0, 2, 1], stride: 1, groups: 1 });
  x = g.batchNorm('bn', x, 8);
  x = g.batchNorm('plain', x, 8, { affine: false });
  for (const op of ['relu6', 'hardSwish', 'hardSigmoid', 'silu', 'sigmoid', 'tanh', 'relu'] as const)
    x = g.add(`${op}.add`, x, g[op](op, x));
  x = g.leakyRelu('leaky', g.gelu('gelu', x), { alpha: 0.2 });
  x = g.gelu('gelu2', x, { approximate: 'tanh' });
  x = g.localResponseNorm('lrn', x, { size: 5 });
  x = g.pad('pad', x, [0, 0, 1, 0, 0, 0, 0, 2], 0.5);
  x = g.maxPool('max', x, { kernel: 3, stride: 2, padding: 1, ceilMode: true });
  x = g.averagePool('average', x, { kernel: 2, stride: 1, padding: 1, countIncludePad: false });
  x = g.slice('slice', x, { axis: 3, start: 1, end: 9 });
  x = g.slice('rows', x, { axis: 2, start: 1, end: 9 });
  x = g.adaptiveAveragePool('adaptive', x, 4);
  x = g.concat('cat', [x, g.scale('scale', x, { factor: -2 })]);
  x = g.multiply('gate', x, g.globalMaxPool('gmp', x));
  x = g.transpose('nhwc', x, [0, 2, 3, 1]);
  x = g.linear('rows.linear', x, { in: 16, out: 8 });
  x = g.layerNorm('ln', x, [8]);
  x = g.reshape('tokens', x, [0, 16, 8]);
  x = g.matmul('attend', x, x, { transposeB: true });
  x = g.reduce('mean', x, { kind: 'mean', axes: [1] });
  x = g.linear('fc', g.dropout('drop', x), { in: 16, out: 5 });
  return fromGraph(g.build([g.softmax('soft', x)]), { labels: ['a', 'b', 'c', 'd', 'e'] });
}

describe('exportOnnx', () => {
  it('writes what load reads back, with labels and preprocessing', async () => {
    using net = await create('cifar_resnet20', { labels: ['cat', 'dog'] });
    const path = join(folder, 'back.onnx');
    await exportOnnx(net, path, { metadata: { author: 'me' } });
    using back = await load(path);
    const x = waves([2, 3, 32, 32]);
    expect(difference(await scores(back, x), await scores(net, x))).toBeLessThan(TOLERANCE);
    expect(back.labels).toEqual(['cat', 'dog']);
    expect(back.preprocessing).toEqual({ ...net.preprocessing, source: 'file' });
    expect(back.trainable.length).toBe(net.trainable.length);
  });

  it('writes the weights beside the model, into a file that it names', async () => {
    using net = await create('cifar_resnet20');
    const inside = await exportOnnx(net, join(folder, 'inside.onnx'));
    const path = join(folder, 'outside.onnx');
    const { bytes } = await exportOnnx(net, path, { externalData: true });
    const sizes = [path, `${path}.data`].map((file) => statSync(file).size);
    expect(sizes[0]! + sizes[1]!).toBe(bytes);
    expect(sizes[0]).toBeLessThan(inside.bytes / 20);
    using back = await load(path);
    const x = waves([2, 3, 32, 32]);
    expect(difference(await scores(back, x), await scores(net, x))).toBeLessThan(TOLERANCE);
    if (hasOnnxRuntime) expect(difference(await scores(net, x), await runOnnx(path, x))).toBeLessThan(TOLERANCE);
  });

  it('writes them there by itself where one file would be larger than 2 GB', () => {
    const files = (side: number): boolean => {
      const g = new GraphBuilder();
      const x = g.input('x', 'f32', ['N', side]);
      const graph = g.build([g.linear('fc', x, { in: side, out: side })]);
      const shapes = new Map(
        ['x', ...graph.outputs].map((name) => [name, { shape: [1, side], dtype: 'f32' as const }]),
      );
      return writeOnnx(graph, shapes, {}, 'x.onnx.data').data.length > 0;
    };
    expect([files(23_000), files(23_400)]).toEqual([false, true]);
  });

  it('leaves nothing behind where it fails', async () => {
    using net = await create('cifar_resnet20');
    await expect(exportOnnx(net, join(folder, 'no/such/x.onnx'))).rejects.toMatchObject({ code: 'ERR_FILE_WRITE' });
    const path = join(folder, 'aborted.onnx');
    const aborted = exportOnnx(net, path, { signal: AbortSignal.abort() });
    await expect(aborted).rejects.toMatchObject({ code: 'ERR_ABORTED' });
    expect(existsSync(path)).toBe(false);
    expect(readdirSync(folder).filter((name) => name.endsWith('.partial'))).toEqual([]);
  });

  it.skipIf(!hasOnnxRuntime)('gives onnxruntime the same numbers: every operator', async () => {
    using net = await everything();
    const path = join(folder, 'everything.onnx');
    await exportOnnx(net, path);
    const x = waves([3, 3, 16, 16]);
    expect(difference(await scores(net, x), await runOnnx(path, x))).toBeLessThan(TOLERANCE);
  });
});

const real = {
  mobilenet: sharedPath('weights/mobilenetv2-body-onnx/mobilenetv2-body.onnx'),
  squeezenet: sharedPath('weights/squeezenet1_1/squeezenet1.1.onnx'),
  fastestdet: sharedPath('weights/shufflenetv2-fastestdet/example/onnx-runtime/FastestDet.onnx'),
};

describe('real models', () => {
  it.skipIf(!hasOnnxRuntime || !real.mobilenet).each(Object.entries(real))(
    '%s equals onnxruntime',
    async (_name, path) => {
      using net = await load(path!);
      const x = waves([1, ...net.graph.inputs[0]!.shape.slice(1).map(Number)]);
      expect(difference(await scores(net, x), await runOnnx(path!, x))).toBeLessThan(TOLERANCE);
    },
  );

  it.skipIf(!real.fastestdet)('a model made for one picture takes two', async () => {
    using net = await load(real.fastestdet!);
    const [two, one] = [waves([2, 3, 352, 352]), waves([1, 3, 352, 352])];
    const [a, b] = [await scores(net, two), await scores(net, one)];
    expect(Array.from((a.data as Float32Array).subarray(0, b.data.length))).toEqual(Array.from(b.data as Float32Array));
  });

  it.skipIf(!real.squeezenet)('the ONNX container of SqueezeNet has the bits of the safetensors one', async () => {
    using a = await load(real.squeezenet!);
    using b = await load(sharedPath('weights/squeezenet1_1/squeezenet1_1.safetensors')!);
    const x = waves([1, 3, 224, 224]);
    expect((await scores(a, x)).data).toEqual((await scores(b, x)).data);
  });

  it.skipIf(!real.mobilenet)('a body takes a head, trains, and is saved', async () => {
    using net = await load(real.mobilenet!);
    net.freeze();
    net.replaceHead(['cucumber', 'zucchini']);
    const batch = { data: waves([2, 3, 224, 224]), target: { data: Int32Array.of(0, 1), shape: [2] } };
    const update = { optimizer: 'sgd', learningRate: 0.05 } as const;
    const first = await net.step(batch, { update });
    expect((await net.step(batch, { update })).loss).toBeLessThan(first.loss);
    const path = join(folder, 'body.safetensors');
    await net.save(path);
    using back = await load(path);
    expect((await scores(back, batch.data)).data).toEqual((await scores(net, batch.data)).data);
  });
});
