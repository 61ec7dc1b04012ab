/** Networks on the real core. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { GraphBuilder } from '../../src/graph/builder.js';
import { create, fromGraph } from '../../src/network/create.js';
import { concatPool, dropout, linear, relu } from '../../src/network/head-layers.js';
import { load } from '../../src/network/load.js';
import type { Network } from '../../src/network/network.js';
import type { HeadKind, Tensor } from '../../src/network/types.js';
import { sharedPath } from '../shared.js';
import { folder } from './files.js';
import { tinyResNet } from './graphs.js';

const rows = 4;

const wave = (label: number, i: number): number => (label === 1 ? 1 + Math.sin(i * 0.05) : Math.sin(i * 1.3) - 1);

/** Waves: the same numbers in every run. */
function picture(channels: number, size: number): Tensor {
  const data = Float32Array.from(
    { length: rows * channels * size * size },
    (_, i) => Math.sin(i * 0.7) + Math.cos(i * 0.013),
  );
  return { data, shape: [rows, channels, size, size] };
}

async function snapshot(net: Network): Promise<Map<string, Tensor>> {
  return new Map(await Promise.all(net.parameters().map(async ({ name }) => [name, await net.tensor(name)] as const)));
}

async function changed(net: Network, before: Map<string, Tensor>): Promise<string[]> {
  const after = await snapshot(net);
  return [...before]
    .filter(([name, { data }]) => data.some((value, i) => !Object.is(value, after.get(name)!.data[i])))
    .map(([name]) => name);
}

const target = { data: Int32Array.of(0, 1, 1, 0), shape: [rows] };
const update = { optimizer: 'sgd', learningRate: 0.05, momentum: 0.9, weightDecay: 0.1 } as const;

describe('training steps', () => {
  it('change what is trainable and its running statistics, and nothing else', async () => {
    using net = await fromGraph(tinyResNet(2));
    net.freeze({ until: 'layer1' }).freeze('layer2', { batchNorm: 'statistics' });
    const before = await snapshot(net);
    const batch = { image: picture(3, 8), target };
    const first = await net.step(batch, { update });
    for (let i = 0; i < 5; i++) await net.step(batch, { update });
    const last = await net.step(batch, { update });
    expect(last.loss).toBeLessThan(first.loss);
    const moved = await changed(net, before);
    const states = net.frozen;
    expect(moved.filter((name) => states.includes(name))).toEqual([]);
    expect(moved).toEqual(
      expect.arrayContaining([...net.trainable, 'layer2.0.bn1.running_mean', 'layer2.0.bn1.num_batches_tracked']),
    );
    expect(moved).not.toContain('layer2.0.bn1.weight');
  });

  it('follow the marks at once', async () => {
    using net = await fromGraph(tinyResNet(2));
    const batch = { image: picture(3, 8), target };
    net.freeze().unfreeze('fc');
    await net.step(batch, { update });
    net.freeze('fc').unfreeze('layer10');
    const before = await snapshot(net);
    await net.step(batch, { update });
    expect((await changed(net, before)).every((name) => name.startsWith('layer10'))).toBe(true);
  });

  it('agree with the gradients of the whole network', async () => {
    using net = await fromGraph(tinyResNet(2));
    net.freeze({ until: 'layer2' });
    const batch = { image: picture(3, 8), target };
    const { gradients, loss } = await net.gradients(batch);
    expect(Object.keys(gradients).sort()).toEqual([...net.trainable].sort());
    const before = await net.tensor('fc.weight');
    const result = await net.step(batch, { update: { optimizer: 'sgd', learningRate: 1 } });
    expect(result.loss).toBeCloseTo(loss, 5);
    const after = await net.tensor('fc.weight');
    const grads = gradients['fc.weight']!.data as Float32Array;
    grads.forEach((g, i) => expect(Number(before.data[i]) - Number(after.data[i])).toBeCloseTo(g, 5));
  });
});

describe('heads', () => {
  it.each<[HeadKind, number[]]>([
    ['multi', [1, 0, 0, 1, 1, 1, 0, 0]],
    ['regression', [1, 2, 3, 4, 5, 6, 7, 8]],
  ])('of kind %s train', async (kind, numbers) => {
    const wanted = { data: Float32Array.from(numbers), shape: [rows, 2] };
    using net = await fromGraph(tinyResNet());
    net.freeze();
    net.replaceHead({ outputs: 2, kind });
    const losses: number[] = [];
    for (let i = 0; i < 20; i++)
      losses.push((await net.step({ image: picture(3, 8), target: wanted }, { update })).loss);
    expect(losses.at(-1)).toBeLessThan(losses[0]!);
  });

  it('of listed layers and presets run, train, and come back from a file', async () => {
    using net = await fromGraph(tinyResNet());
    net.freeze();
    const batch = { image: picture(3, 8), target };
    net.replaceHead({
      labels: ['a', 'b'],
      after: 'layer1',
      layers: [concatPool(), dropout(0.2), linear(8), relu(), linear(2)],
    });
    const layered = await net.step(batch, { update, seed: 1 });
    expect(Number.isFinite(layered.loss)).toBe(true);
    net.replaceHead({ labels: ['a', 'b'], preset: 'fastai' });
    await net.step(batch, { update });
    const path = join(folder, 'native.safetensors');
    await net.save(path);
    using back = await load(path);
    const image = picture(3, 8);
    expect(await back.forward(image)).toEqual(await net.forward(image));
    expect(back.trainable).toEqual(net.trainable);
  });

  it.each(['features.4', 'features.7', 'features.10'])('SqueezeNet cut after %s trains', async (after) => {
    using net = await create('squeezenet1_1');
    net.freeze();
    net.replaceHead({ labels: ['a', 'b'], after });
    // Pictures of the two labels differ: coarse waves on a light ground, fine waves on a dark one.
    const { data, shape } = picture(3, 64);
    const labels = target.data;
    const image = {
      data: (data as Float32Array).map((_, i) => wave(labels[Math.floor((i * rows) / data.length)]!, i)),
      shape,
    };
    const losses: number[] = [];
    const adam = { optimizer: 'adam', learningRate: 1e-3 } as const;
    for (let i = 0; i < 20; i++) losses.push((await net.step({ image, target }, { update: adam })).loss);
    // Chance is ln 2 = 0.69.
    expect(losses.at(-1)).toBeLessThan(0.6);
  });
});

describe('summary', () => {
  it('has the shapes of the core and the bytes of its plans', async () => {
    using net = await create('resnet18');
    net.freeze({ until: 'layer3' });
    const summary = await net.summary();
    expect(summary.rows.find(({ name }) => name === 'layer4.0.conv1')!.shape).toEqual([1, 512, 7, 7]);
    expect(summary.total).toBe(11_689_512);
    expect(summary.memory.run).toBeGreaterThan(1e6);
    expect(summary.memory.step).toBeGreaterThan(summary.memory.run);
  });

  it('of maps, which no loss takes, has no bytes for training', async () => {
    const g = new GraphBuilder();
    const image = g.input('image', 'f32', ['N', 3, 8, 8]);
    using net = await fromGraph(g.build([g.conv2d('maps', image, { in: 3, out: 5, kernel: 1 })]));
    const { rows: layers, memory } = await net.summary({ batch: 2 });
    expect(layers).toMatchObject([{ name: 'maps', shape: [2, 5, 8, 8], trainable: true }]);
    expect(memory.run).toBeGreaterThan(0);
    expect(memory.step).toBe(null);
  });
});

const weights = sharedPath('weights/squeezenet1_1');

describe.skipIf(!weights)('published weights', () => {
  it('the three formats give the same network', async () => {
    const files = ['squeezenet1_1.safetensors', 'squeezenet1_1.pth', 'squeezenet1_1-legacy.pth'];
    const image = picture(3, 64);
    const answers: unknown[] = [];
    for (const file of files) {
      using net = await load(join(weights!, file));
      expect(net.name).toBe('squeezenet1_1');
      expect(net.loadReport.loaded).toHaveLength(52);
      answers.push(await net.forward(image));
    }
    expect(answers[1]).toEqual(answers[0]);
    expect(answers[2]).toEqual(answers[0]);
  });

  it('a grey network gives what the coloured one gives for grey pictures', async () => {
    const file = join(weights!, 'squeezenet1_1.safetensors');
    using colour = await load(file);
    using grey = await load(file, { channels: 1 });
    const one = picture(1, 64);
    const area = 64 * 64;
    const repeated = Float32Array.from(
      { length: rows * 3 * area },
      (_, i) => one.data[Math.floor(i / (3 * area)) * area + (i % area)] as number,
    );
    const [a] = Object.values(await grey.forward(one));
    const [b] = Object.values(await colour.forward({ data: repeated, shape: [rows, 3, 64, 64] }));
    a!.data.forEach((value, i) => expect(value).toBeCloseTo(Number(b!.data[i]), 3));
  });
});
