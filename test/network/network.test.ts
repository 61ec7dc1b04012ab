import { describe, expect, it, vi } from 'vitest';
import { GraphBuilder } from '../../src/graph/builder.js';
import { create, fromGraph } from '../../src/network/create.js';
import type { Network } from '../../src/network/network.js';
import { FakeSession } from './fake-session.js';
import { tinyResNet } from './graphs.js';

vi.mock('../../src/native.js', async () => (await import('./fake-session.js')).fakeNative());

const fake = (net: Network): FakeSession => net.session as unknown as FakeSession;
const code = (wanted: string) => expect.objectContaining({ code: wanted });
const image = (rows = 1, size = 8) => ({
  data: new Float32Array(rows * 3 * size * size),
  shape: [rows, 3, size, size],
});
const target = (rows = 1) => ({ data: new Int32Array(rows), shape: [rows] });

describe('create and fromGraph', () => {
  it('draws every tensor by seed', async () => {
    const net = await create('cifar_resnet20', { labels: ['a', 'b'], seed: 5 });
    expect(net.head.outputs).toBe(2);
    expect(fake(net).of('initialise')[0].seed).toBe(5);
    expect(net.loadReport.initialised).toHaveLength(net.parameters().length);
    await expect(create('resnet19')).rejects.toEqual(code('ERR_ARCHITECTURE'));
    await expect(create('resnet18', { classes: 0 })).rejects.toEqual(code('ERR_OPTION'));
    await expect(create('resnet18', { classes: 3, labels: ['a', 'b'] })).rejects.toEqual(code('ERR_LABELS'));
  });

  it('takes a graph, finds its last layer and its stages', async () => {
    const net = await fromGraph(tinyResNet(), { labels: ['a', 'b', 'c'], name: 'tiny' });
    expect(net.head).toEqual({ kind: 'single', outputs: 3, classifier: 'fc', boundary: 'flatten' });
    expect(net.layers).toEqual(['conv1', 'bn1', 'layer1', 'layer2', 'layer10', 'fc']);
    expect(net.groups().flatMap(({ parameters }) => parameters)).toHaveLength(net.graph.parameters.length);
    expect(net.preprocessing).toBe(null);
    await expect(fromGraph({ nodes: [] } as never)).rejects.toEqual(code('ERR_GRAPH'));
    const regression = await fromGraph(tinyResNet(1), { targets: ['age'] });
    expect(regression.head).toMatchObject({ kind: 'regression', targets: ['age'] });
  });

  it('keeps its own copy of the graph', async () => {
    const graph = tinyResNet();
    const net = await fromGraph(graph);
    graph.nodes.length = 0;
    expect(net.graph.nodes.length).toBeGreaterThan(10);
  });
});

describe('plans', () => {
  it('are kept by mode and shapes, and compiled with the marks', async () => {
    const net = await fromGraph(tinyResNet());
    net.freeze(undefined, { batchNorm: 'statistics' }).unfreeze('fc');
    const a = await net.compile('run', { image: [1, 3, 8, 8] });
    expect(await net.compile('run', { image: [1, 3, 8, 8] })).toBe(a);
    expect(await net.compile('run', { image: [2, 3, 8, 8] })).not.toBe(a);
    const request = fake(net).of('compile')[0];
    expect(request.trainable).toEqual(['fc.weight', 'fc.bias']);
    expect(request.batchNorm['layer1.0.bn1']).toBe('statistics');
  });

  it('are compiled once when asked for twice at once', async () => {
    const net = await fromGraph(tinyResNet());
    await Promise.all([1, 2, 3].map(() => net.forward(image())));
    expect(fake(net).of('compile')).toHaveLength(1);
    expect(fake(net).of('run')).toHaveLength(3);
  });

  it('of other marks or another graph are released', async () => {
    const net = await fromGraph(tinyResNet());
    const old = await net.compile('run', { image: [1, 3, 8, 8] });
    net.freeze('conv1');
    const marked = await net.compile('run', { image: [1, 3, 8, 8] });
    expect(old.released).toBe(true);
    net.replaceHead(['a', 'b']);
    await net.forward(image());
    expect(marked.released).toBe(true);
    expect(fake(net).plans.size).toBe(1);
  });

  it('are bounded in number', async () => {
    const net = await fromGraph(tinyResNet());
    for (let rows = 1; rows <= 40; rows++) await net.compile('run', { image: [rows, 3, 8, 8] });
    await new Promise((resolve) => setImmediate(resolve));
    expect(fake(net).plans.size).toBe(24);
    await net.forward(image(40));
    expect(fake(net).of('compile')).toHaveLength(40);
  });

  it('that failed are asked for anew', async () => {
    const net = await fromGraph(tinyResNet());
    fake(net).fail.set('compile', Object.assign(new Error('no'), { code: 'ERR_SHAPE' }) as never);
    await expect(net.forward(image())).rejects.toThrow('no');
    expect(await net.forward(image())).toHaveProperty('fc');
  });
});

describe('the low level', () => {
  it('forward: outputs by name, inputs checked', async () => {
    const net = await fromGraph(tinyResNet());
    expect(await net.forward(image())).toEqual({ fc: { data: Float32Array.of(1, 2), shape: [1, 2] } });
    await net.forward({ image: image() }, { outputs: ['layer1.0.relu'] });
    expect(fake(net).of('compile').at(-1).outputs).toEqual(['layer1.0.relu']);
    await expect(net.forward({ data: new Float32Array(3), shape: [1, 3, 8, 8] })).rejects.toEqual(code('ERR_SHAPE'));
    await expect(net.forward({ data: new Uint8Array(192), shape: [1, 3, 8, 8] })).rejects.toEqual(code('ERR_DTYPE'));
    await net.forward({ data: new Float64Array(192), shape: [1, 3, 8, 8] });
  });

  it('gradients: of what is trainable, with the loss of the head', async () => {
    const net = await fromGraph(tinyResNet());
    const result = await net.gradients({ image: image(), target: target() }, { seed: 4, epoch: 2, samples: [9] });
    expect(result).toMatchObject({
      loss: 0.5,
      losses: [0.5],
      gradients: { 'fc.bias': { data: Float32Array.of(3, 4), shape: [2] } },
    });
    expect(fake(net).of('run')[0]).toMatchObject({ gradients: true, seed: 4, epoch: 2, samples: [9] });
    expect(fake(net).of('compile')[0].mode).toBe('gradients');
    await expect(net.gradients({ image: image() })).rejects.toEqual(code('ERR_INPUT'));
  });

  it('step: the plan of the frozen part and that of the rest in one run', async () => {
    const net = await fromGraph(tinyResNet());
    net.freeze().unfreeze('fc');
    fake(net).cut = [{ name: 'fc', dtype: 'f32', shape: [1, 2] }];
    const update = { optimizer: 'adamw', learningRate: 0.1 } as const;
    const result = await net.step({ image: image(), target: target() }, { update });
    expect(result).toMatchObject({ loss: 0.5, gradientNorm: 2 });
    expect(
      fake(net)
        .of('compile')
        .map(({ mode }) => mode),
    ).toEqual(['step', 'embed']);
    const [run, ...others] = fake(net).of('run');
    expect(others).toEqual([]);
    expect(run).toMatchObject({ inputs: ['image', 'target'], update });
    expect(run.frozen).not.toBe(run.plan);
    net.freeze();
    await expect(net.step({ image: image(), target: target() })).rejects.toEqual(code('ERR_NOTHING_TRAINABLE'));
  });

  it('step: one plan where the cut is the inputs', async () => {
    const net = await fromGraph(tinyResNet());
    await net.step({ image: image(), target: target() });
    expect(
      fake(net)
        .of('compile')
        .map(({ mode }) => mode),
    ).toEqual(['step']);
    const lock = net.lock();
    expect(() => net.step({ image: image(), target: target() })).toThrow(code('ERR_NETWORK_BUSY'));
    lock.release();
  });
});

describe('training graphs', () => {
  it('end in the loss of the head', async () => {
    const net = await fromGraph(tinyResNet());
    const single = net.trainingGraph();
    expect(single.inputs.at(-1)).toEqual({ name: 'target', dtype: 'i32', shape: ['N'] });
    expect(single.nodes.at(-1)).toEqual({ name: 'loss', op: 'cross_entropy', inputs: ['fc', 'target'] });
    expect(single.losses).toEqual([{ value: 'loss', weight: 1 }]);
    expect(net.trainingGraph()).toBe(single);
    expect(net.graph.losses).toBeUndefined();
    const smooth = net.trainingGraph('single', { labelSmoothing: 0.1, classWeights: true, mask: true });
    expect(smooth.nodes.at(-1)).toMatchObject({
      inputs: ['fc', 'target', 'class_weights', 'mask'],
      attrs: { label_smoothing: 0.1 },
    });
    expect(net.trainingGraph('single', { soft: true }).inputs.at(-1)).toMatchObject({ dtype: 'f32', shape: ['N', 3] });
    expect(net.trainingGraph('multi').nodes.at(-1)!.op).toBe('binary_cross_entropy');
    expect(net.trainingGraph('regression').nodes.at(-1)!.op).toBe('mean_squared_error');
    expect(() => net.trainingGraph('multi', { labelSmoothing: 0.1 })).toThrow(code('ERR_OPTION'));
    expect(() => net.trainingGraph('single', { labelSmoothing: 2 })).toThrow(code('ERR_OPTION'));
    net.replaceHead(['a', 'b']);
    expect(net.trainingGraph()).not.toBe(single);
  });

  it("leave losses of one's own alone", async () => {
    const g = new GraphBuilder();
    const y = g.linear('fc', g.input('x', 'f32', ['N', 4]), { in: 4, out: 2 });
    g.loss(g.meanSquaredError('mse', y, g.input('wanted', 'f32', ['N', 2])), 2);
    const net = await fromGraph(g.build([y]));
    expect(net.trainingGraph()).toBe(net.graph);
    const batch = {
      x: { data: new Float32Array(4), shape: [1, 4] },
      wanted: { data: new Float32Array(2), shape: [1, 2] },
    };
    expect((await net.gradients(batch)).loss).toBe(1);
  });
});

describe('tensors', () => {
  it('come and go as { data, shape }', async () => {
    const net = await fromGraph(tinyResNet());
    await net.setTensor('fc.bias', { data: Float32Array.of(1, 2, 3), shape: [3] });
    expect(await net.tensor('fc.bias')).toEqual({ data: Float32Array.of(1, 2, 3), shape: [3] });
    expect((await net.tensor('bn1.num_batches_tracked')).data).toEqual(new BigInt64Array(1));
    await net.setTensor('bn1.num_batches_tracked', { data: Int32Array.of(7), shape: [] });
    expect((await net.tensor('bn1.num_batches_tracked')).data[0]).toBe(7n);
    await expect(net.tensor('nothing')).rejects.toEqual(code('ERR_NO_TENSOR'));
    await expect(net.setTensor('nothing', target())).rejects.toEqual(code('ERR_NO_TENSOR'));
    await expect(net.setTensor('fc.bias', { data: new Float32Array(2), shape: [2] })).rejects.toEqual(
      code('ERR_SHAPE'),
    );
    await expect(net.setTensor('fc.bias', [1, 2, 3] as never)).rejects.toEqual(code('ERR_DTYPE'));
  });
});

describe('summary', () => {
  it('lists layers, shapes, parameters and marks, with totals and memory', async () => {
    const net = await fromGraph(tinyResNet(), { name: 'tiny', input: { channels: 3, height: 8, width: 8 } });
    net.freeze({ until: 'layer2' });
    const summary = await net.summary({ batch: 2 });
    expect(summary.inputs).toEqual({ image: [2, 3, 8, 8] });
    const row = (name: string) => summary.rows.find((one) => one.name === name);
    expect(row('conv1')).toEqual({
      name: 'conv1',
      op: 'conv2d',
      shape: [2, 4, 8, 8],
      parameters: 108,
      trainable: false,
    });
    expect(row('bn1')).toMatchObject({ parameters: 8, trainable: false, batchNorm: 'frozen' });
    expect(row('fc')).toMatchObject({ shape: [2, 3], parameters: 15, trainable: true });
    expect(row('relu')).toMatchObject({ parameters: 0, trainable: null });
    expect(summary.total).toBe(summary.rows.reduce((sum, { parameters }) => sum + parameters, 0));
    expect(summary.trainable).toBe(15 + 2 * 4 * 4 * 9 + 16);
    expect(summary.memory).toMatchObject({ run: 1111, step: 1111 });
    const text = String(summary);
    expect(text).toContain('conv1');
    expect(text).toMatch(/parameters: 1,\d{3}, trainable: 319/);
    expect((await net.freeze().summary()).memory.step).toBe(null);
  });
});

describe('disposal', () => {
  it('gives everything back, once', async () => {
    const net = await fromGraph(tinyResNet());
    expect(net.bytes).toBeGreaterThan(0);
    net.dispose();
    net[Symbol.dispose]();
    expect(net.disposed && fake(net).disposed).toBe(true);
    expect(net.bytes).toBe(0);
    const gone = code('ERR_DISPOSED');
    expect(() => net.freeze()).toThrow(gone);
    expect(() => net.replaceHead(['a', 'b'])).toThrow(gone);
    await expect(net.forward(image())).rejects.toEqual(gone);
    await expect(net.summary()).rejects.toEqual(gone);
    await expect(net.save('x')).rejects.toEqual(gone);
    await expect(net.tensor('fc.bias')).rejects.toEqual(gone);
  });
});
