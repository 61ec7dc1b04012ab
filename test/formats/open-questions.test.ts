/** What files leave open, the size of pictures for TensorFlow's `same` padding and how pictures come in: the user is asked. */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import sharp from 'sharp';
import { afterAll, describe, expect, it } from 'vitest';
import { create, load } from '../../src/index.js';
import type { LoadOptions, Network } from '../../src/index.js';
import { json, thaw } from '../cli/thaw.js';
import { temporaryFolder } from '../python.js';
import { writeModel } from './onnx-models.js';

const folder = temporaryFolder();
afterAll(folder.remove);

const KERNEL = Float32Array.from({ length: 9 }, (_, i) => (i % 5) - 1.5);
const picture = (height: number, width: number): Float32Array =>
  Float32Array.from({ length: height * width }, (_, i) => Math.sin(i * 1.3));

interface Convolution {
  kernel: number;
  stride: number;
}

/** One convolution of pictures of one channel, as a layers model of TensorFlow.js. */
function model(name: string, sizes: (number | null)[], { kernel, stride }: Convolution): string {
  const config = {
    name: 'conv',
    filters: 1,
    kernel_size: [kernel, kernel],
    strides: [stride, stride],
    use_bias: false,
  };
  const first = { ...config, padding: 'same', batch_input_shape: [null, ...sizes, 1] };
  const layers = [{ class_name: 'Conv2D', config: first }];
  const topology = { model_config: { class_name: 'Sequential', config: { name, layers } } };
  const weights = [{ name: 'conv/kernel', shape: [kernel, kernel, 1, 1], dtype: 'float32' }];
  const to = path.join(folder.path, name);
  mkdirSync(to, { recursive: true });
  writeFileSync(path.join(to, 'w.bin'), Buffer.from(KERNEL.buffer, 0, 4 * kernel * kernel));
  const manifest = [{ paths: ['w.bin'], weights }];
  writeFileSync(path.join(to, 'model.json'), JSON.stringify({ modelTopology: topology, weightsManifest: manifest }));
  return path.join(to, 'model.json');
}

/** By TensorFlow's definition: ceil(size / stride) windows, what is missing shared out, the odd one below and right. */
function reference(height: number, width: number, { kernel, stride }: Convolution): number[] {
  const x = picture(height, width);
  const before = (size: number): number =>
    Math.floor(Math.max(0, (Math.ceil(size / stride) - 1) * stride + kernel - size) / 2);
  const found: number[] = [];
  for (let r = 0; r < Math.ceil(height / stride); r++)
    for (let c = 0; c < Math.ceil(width / stride); c++) {
      let sum = 0;
      for (let i = 0; i < kernel; i++)
        for (let j = 0; j < kernel; j++) {
          const [y, z] = [r * stride + i - before(height), c * stride + j - before(width)];
          if (y >= 0 && z >= 0 && y < height && z < width) sum += x[y * width + z]! * KERNEL[i * kernel + j]!;
        }
      found.push(sum);
    }
  return found;
}

async function scores(file: string, height: number, width: number, options: LoadOptions = {}): Promise<number[]> {
  using net = await load(file, options);
  const input = { data: picture(height, width), shape: [1, 1, height, width] };
  return [...(Object.values(await net.forward(input))[0]!.data as Float32Array)];
}

function expectClose(found: number[], wanted: number[]): void {
  expect(found.length).toBe(wanted.length);
  wanted.forEach((value, i) => expect(found[i]).toBeCloseTo(value, 4));
}

const open = (): string => model('open', [null, null], { kernel: 3, stride: 2 });

describe('the size of pictures that a file leaves open', () => {
  it('is asked for where a stride makes the padding depend on it', async () => {
    const question = { code: 'ERR_INPUT_SIZE', message: expect.stringMatching(/inputSize.*layer 'conv'/) as string };
    await expect(load(open())).rejects.toMatchObject(question);
    const half = model('half', [6, null], { kernel: 3, stride: 2 });
    await expect(load(half)).rejects.toMatchObject(question);
  });

  it.each([
    [5, 7],
    [6, 8],
    [5, 8],
    [6, 7],
  ])('is taken from the answer: %i x %i', async (height, width) => {
    const found = await scores(open(), height, width, { inputSize: [height, width] });
    expectClose(found, reference(height, width, { kernel: 3, stride: 2 }));
  });

  it.each([
    { kernel: 3, stride: 1 },
    { kernel: 1, stride: 2 },
  ])('is not asked for where all sizes have the same padding: %o', async (convolution) => {
    const file = model('any', [null, null], convolution);
    for (const [height, width] of [
      [5, 7],
      [6, 8],
    ] as const)
      // prettier-ignore
      expectClose(await scores(file, height, width), reference(height, width, convolution));
  });

  it('binds the network to it: another size is an error, not another padding', async () => {
    using net = await load(open(), { inputSize: 6 });
    expect(net.input).toEqual({ channels: 1, height: 6, width: 6 });
    await expect(net.forward({ data: picture(5, 5), shape: [1, 1, 5, 5] })).rejects.toMatchObject({
      code: 'ERR_SHAPE',
    });
  });

  it('may not be another than the file says, nor given to a network of any size', async () => {
    const fixed = model('fixed', [6, 6], { kernel: 3, stride: 2 });
    expectClose(await scores(fixed, 6, 6, { inputSize: 6 }), reference(6, 6, { kernel: 3, stride: 2 }));
    await expect(load(fixed, { inputSize: 5 })).rejects.toMatchObject({ code: 'ERR_INPUT_SIZE' });
    using net = await create('squeezenet1_1', { classes: 2 });
    const saved = path.join(folder.path, 'squeezenet.safetensors');
    await net.save(saved);
    await expect(load(saved, { inputSize: 224 })).rejects.toMatchObject({ code: 'ERR_INPUT_SIZE' });
    for (const inputSize of [0, 1.5, [3], 'large'] as never[])
      await expect(load(fixed, { inputSize })).rejects.toMatchObject({ code: 'ERR_OPTION' });
  });

  it('is asked for in ONNX by auto_pad, and stays as the answer says when it is saved', async () => {
    const attributes = { kernel_shape: [3, 3], strides: [2, 2], auto_pad: 'SAME_UPPER' };
    const nodes = [{ op: 'MaxPool', name: 'pool', inputs: ['x'], outputs: ['y'], attributes }];
    const file = writeModel('same.onnx', { nodes, input: ['N', 1, 'height', 'width'], output: 'y' });
    const question = { code: 'ERR_INPUT_SIZE', message: expect.stringMatching(/inputSize.*node 'pool'/) as string };
    await expect(load(file)).rejects.toMatchObject(question);
    using net = await load(file, { inputSize: [5, 4] });
    const saved = path.join(folder.path, 'same.safetensors');
    await net.save(saved);
    // Two pixels missing above and below, one to the right.
    const x = picture(5, 4);
    const at = (y: number, z: number): number => (y < 0 || y > 4 || z > 3 ? -Infinity : x[y * 4 + z]!);
    const wanted = [-1, 1, 3].flatMap((y) =>
      [0, 2].map((z) => Math.max(...[0, 1, 2].flatMap((i) => [0, 1, 2].map((j) => at(y + i, z + j))))),
    );
    expectClose(await scores(file, 5, 4, { inputSize: [5, 4] }), wanted);
    expectClose(await scores(saved, 5, 4), wanted);
  });

  it('is --input-size on the command line; inspect lists the file without it', async () => {
    const asked = await thaw(['inspect', open()]);
    expect(asked.code).toBe(0);
    expect(asked.error).toMatch(/inputSize/);
    expect(asked.out).toMatch(/conv\/kernel/);
    const shown = await json(['inspect', open(), '--input-size', '5x7']);
    expect(shown.summary.rows[0].shape).toEqual([1, 1, 3, 4]);
    expect((await thaw(['inspect', open(), '--input-size', 'large'])).code).toBe(2);
    const quick = ['bench', '--batch', '2', '--repeats', '1', '--input-size', '5x7'];
    expect(await json([...quick, '--net', open()])).toMatchObject({ batch: 2 });
    expect((await thaw([...quick, '--net', 'resnet18'])).code).toBe(2);
  });
});

describe('how pictures come in, where the file does not say', () => {
  const convention = (mean: number[], std: number[]) => ({ mean, std, resize: 224, crop: 224, source: 'given' });
  const bare = (channels: number): string => {
    const nodes = [
      { op: 'GlobalAveragePool', inputs: ['x'], outputs: ['p'] },
      { op: 'Flatten', inputs: ['p'], outputs: ['f'] },
      { op: 'Gemm', name: 'fc', inputs: ['f', 'w'], outputs: ['y'] },
    ];
    const w = {
      name: 'w',
      shape: [channels, 2],
      values: Array.from({ length: channels * 2 }, (_, i) => (i % 2) * 2 - 1),
    };
    return writeModel(`bare${channels}.onnx`, { nodes, tensors: [w], input: ['N', channels, 'h', 'w'], output: 'y' });
  };

  it.each([
    ['torch', [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]],
    ['tf', [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]],
    ['raw', [0, 0, 0], [1 / 255, 1 / 255, 1 / 255]],
  ] as const)('is %s by name', async (preprocessing, mean, std) => {
    using net = await load(bare(3), { preprocessing });
    expect(net.preprocessing).toMatchObject(convention([...mean], [...std]));
    using sized = await load(bare(3), { preprocessing, inputSize: 96 });
    expect(sized.preprocessing).toMatchObject({ resize: 96, crop: 96 });
    using known = await create('inception_v3', { preprocessing, classes: 2 });
    expect(known.preprocessing).toMatchObject({ mean, std, resize: 342, crop: 299 });
  });

  it('is caffe by name: the graph turns RGB around, also when it is saved', async () => {
    using plain = await create('squeezenet1_1', { classes: 2, seed: 1 });
    using turned = await create('squeezenet1_1', { classes: 2, seed: 1, preprocessing: 'caffe' });
    expect(turned.preprocessing).toMatchObject({ mean: [123.68, 116.779, 103.939].map((v) => v / 255), channels: 3 });
    const plane = 64 * 64;
    const data = Float32Array.from({ length: 3 * plane }, (_, i) => Math.sin(i * 0.37) + Math.floor(i / plane));
    const bgr = Float32Array.from(data, (_, i) => data[(2 - Math.floor(i / plane)) * plane + (i % plane)]!);
    const run = async (net: Network, pixels: Float32Array): Promise<number[]> => [
      ...(Object.values(await net.forward({ data: pixels, shape: [1, 3, 64, 64] }))[0]!.data as Float32Array),
    ];
    const wanted = await run(plain, bgr);
    expect(await run(turned, data)).toEqual(wanted);
    expect(await run(plain, data)).not.toEqual(wanted);
    const saved = path.join(folder.path, 'turned.safetensors');
    await turned.save(saved);
    using back = await load(saved);
    expect(await run(back, data)).toEqual(wanted);
  });

  it('is no convention of another name, nor of pictures without colours', async () => {
    await expect(load(bare(3), { preprocessing: 'mxnet' as never })).rejects.toMatchObject({ code: 'ERR_OPTION' });
    await expect(load(bare(1), { preprocessing: 'tf' })).rejects.toMatchObject({ code: 'ERR_OPTION' });
  });

  it('is --preprocessing on the command line, which the question names', async () => {
    const picture = path.join(folder.path, 'white.png');
    await sharp({ create: { width: 8, height: 8, channels: 3, background: 'white' } }).toFile(picture);
    const asked = await thaw(['predict', bare(3), picture]);
    expect(asked.code).toBe(1);
    expect(asked.error).toMatch(/--preprocessing torch/);
    // White is 255 in each of three channels: scores -765 and 765.
    const { predictions } = await json(['predict', bare(3), picture, '--preprocessing', 'raw']);
    expect(predictions[0].labels[0]).toMatchObject({ index: 1, probability: 1 });
  });
});
