import { describe, expect, it, vi } from 'vitest';
import { GraphBuilder } from '../../src/graph/builder.js';
import { create, fromGraph } from '../../src/network/create.js';
import {
  batchNorm,
  concatPool,
  dropout,
  flatten,
  globalAveragePool,
  linear,
  relu,
} from '../../src/network/head-layers.js';
import { featureShape } from '../../src/network/features.js';
import type { Network } from '../../src/network/network.js';
import { architectures, build } from '../../src/zoo/index.js';
import { FakeSession } from './fake-session.js';
import { tinyResNet } from './graphs.js';

vi.mock('../../src/native.js', async () => (await import('./fake-session.js')).fakeNative());

const fake = (net: Network): FakeSession => net.session as unknown as FakeSession;
const shapeOf = (net: Network, name: string) => net.parameters().find((tensor) => tensor.name === name)?.shape;
const code = (wanted: string) => expect.objectContaining({ code: wanted });

describe("the architecture's own last layer", () => {
  it.each(architectures())('%s: is made anew under its own name', async (name) => {
    const net = await create(name);
    const { classifier } = net.head;
    const old = shapeOf(net, `${classifier}.weight`)!;
    net.freeze();
    const report = net.replaceHead(['cucumber', 'zucchini']);
    expect(report.dropped.map((t) => t.name)).toEqual([`${classifier}.weight`, `${classifier}.bias`]);
    expect(report.dropped[0]!.received).toEqual(old);
    expect(report.initialised.map((t) => t.name)).toEqual([`${classifier}.weight`, `${classifier}.bias`]);
    expect(report.initialised[0]!.expected).toEqual([2, ...old.slice(1)]);
    expect(net.trainable).toEqual([`${classifier}.weight`, `${classifier}.bias`]);
    expect(net.labels).toEqual(['cucumber', 'zucchini']);
    expect(net.graph.nodes.map(({ name: node }) => node)).toEqual(
      build(name).graph.nodes.map(({ name: node }) => node),
    );
    net.dispose();
  });

  it('draws the new weights by seed, and forgets the optimizer state of the old', async () => {
    const net = await fromGraph(tinyResNet(), { seed: 7 });
    net.replaceHead({ labels: ['a', 'b'], seed: 9 });
    await net.store.settled();
    const drawn = fake(net).of('initialise').at(-1);
    expect(drawn.seed).toBe(9);
    expect(drawn.tensors.map((t: { shape: number[] }) => t.shape)).toEqual([[2, 4], [2]]);
    expect(fake(net).of('drop')[0].names).toEqual(
      expect.arrayContaining(['fc.weight', 'optimizer/momentum/fc.weight', 'origin/fc.bias']),
    );
    expect((await net.tensor('fc.bias')).shape).toEqual([2]);
  });

  it('reports a failed draw to whoever uses the weights next', async () => {
    const net = await fromGraph(tinyResNet());
    fake(net).fail.set('initialise', Object.assign(new Error('full'), { code: 'ERR_MEMORY' }) as never);
    net.replaceHead(['a', 'b']);
    await expect(net.tensor('fc.bias')).rejects.toThrow('full');
  });
});

describe('listed layers', () => {
  const head = (net: Network): string[] =>
    net.graph.nodes.filter(({ name }) => name.startsWith('head.')).map(({ op }) => op);

  it('go on the features of the body, pooled where a linear layer reads them', async () => {
    const net = await create('resnet18');
    net.freeze();
    const report = net.replaceHead({ labels: ['a', 'b'], layers: [linear(16), relu(), dropout(0.5), linear(2)] });
    expect(head(net)).toEqual(['global_average_pool', 'flatten', 'linear', 'relu', 'dropout', 'linear']);
    expect(shapeOf(net, 'head.0.weight')).toEqual([16, 512]);
    expect(shapeOf(net, 'head.3.weight')).toEqual([2, 16]);
    expect(net.trainable).toEqual(['head.0.weight', 'head.0.bias', 'head.3.weight', 'head.3.bias']);
    expect(report.dropped.map(({ name }) => name)).toEqual(['fc.weight', 'fc.bias']);
    expect(net.graph.outputs).toEqual(['head.3']);
    expect(net.layers.at(-1)).toBe('head');
    expect(net.layers).not.toContain('fc');
    expect(net.groups().at(-1)).toEqual({ name: 'head', parameters: net.trainable });
  });

  it('the preset of fastai', async () => {
    const net = await create('resnet18');
    net.replaceHead({ labels: ['a', 'b', 'c'], preset: 'fastai' });
    const ops = ['global_average_pool', 'global_max_pool', 'concat', 'flatten', 'batch_norm', 'dropout'];
    expect(head(net)).toEqual([...ops, 'linear', 'relu', 'batch_norm', 'dropout', 'linear']);
    expect(shapeOf(net, 'head.4.weight')).toEqual([512, 1024]);
    expect(shapeOf(net, 'head.4.bias')).toBeUndefined();
    expect(net.graph.nodes.filter(({ op }) => op === 'dropout').map(({ attrs }) => attrs!.p)).toEqual([0.25, 0.5]);
    expect(net.batchNormModes['head.2']).toBe('train');
  });

  it('may be spatial: batch norm, concat pool, flatten', async () => {
    const net = await create('squeezenet1_1');
    net.replaceHead({ labels: ['a', 'b'], layers: [batchNorm(), concatPool(), flatten(), linear(2)] });
    expect(shapeOf(net, 'head.0.weight')).toEqual([512]);
    expect(shapeOf(net, 'head.3.weight')).toEqual([2, 1024]);
    const spread = await create('squeezenet1_1');
    spread.replaceHead({ labels: ['a', 'b'], layers: [flatten(), linear(2)] });
    expect(shapeOf(spread, 'head.1.weight')).toEqual([2, 512 * 13 * 13]);
  });

  it("'linear' with dropout, and another head on top of a new one", async () => {
    const net = await create('vgg11');
    net.replaceHead({ labels: ['a', 'b'], preset: 'linear', dropout: 0.2 });
    expect(net.parameters().some(({ name }) => name.startsWith('classifier'))).toBe(false);
    expect(shapeOf(net, 'head.3.weight')).toEqual([2, 512]);
    net.replaceHead(['x', 'y', 'z']);
    expect(shapeOf(net, 'head.3.weight')).toEqual([3, 512]);
    net.replaceHead({ labels: ['p', 'q'], layers: [globalAveragePool(), linear(2)] });
    expect(shapeOf(net, 'head.1.weight')).toEqual([2, 512]);
    expect(net.graph.nodes.filter(({ name }) => name.startsWith('head')).map(({ name }) => name)).toEqual([
      'head.0',
      'head.1.flatten',
      'head.1',
    ]);
  });

  it('must end in a linear layer with as many outputs as labels', async () => {
    const net = await create('resnet18');
    expect(() => net.replaceHead({ labels: ['a', 'b'], layers: [linear(3)] })).toThrow(code('ERR_HEAD'));
    expect(() => net.replaceHead({ labels: ['a', 'b'], layers: [linear(2), relu()] })).toThrow(code('ERR_HEAD'));
    expect(() => net.replaceHead({ labels: ['a', 'b'], layers: [] })).toThrow(code('ERR_HEAD'));
    expect(() => net.replaceHead({ labels: ['a', 'b'], layers: [linear(4), concatPool(), linear(2)] })).toThrow(
      code('ERR_HEAD'),
    );
    expect(() => net.replaceHead({ labels: ['a', 'b'], layers: [{ kind: 'magic' } as never, linear(2)] })).toThrow(
      code('ERR_HEAD'),
    );
    expect(() => linear(0)).toThrow(code('ERR_HEAD'));
    expect(() => dropout(1)).toThrow(code('ERR_HEAD'));
    expect(net.head.outputs).toBe(1000);
  });
});

describe('cutting the body', () => {
  it('drops everything above the layer', async () => {
    const net = await create('resnet18');
    const report = net.replaceHead({ labels: ['a', 'b'], after: 'layer3' });
    expect(net.graph.nodes.some(({ name }) => name.startsWith('layer4'))).toBe(false);
    expect(report.dropped.map(({ name }) => name)).toContain('layer4.0.bn1.running_mean');
    expect(shapeOf(net, 'head.2.weight')).toEqual([2, 256]);
    expect(net.layers).toEqual(['conv1', 'bn1', 'layer1', 'layer2', 'layer3', 'head']);
    expect(net.head.boundary).toBe(net.graph.nodes.filter(({ name }) => name.startsWith('layer3')).at(-1)!.name);
  });

  it.each([
    ['features.4', 128],
    ['features.7', 256],
    ['features.12', 512],
  ])('SqueezeNet after %s', async (after, channels) => {
    const net = await create('squeezenet1_1');
    net.replaceHead({ labels: ['a', 'b'], after });
    expect(net.parameters().find(({ name }) => name.startsWith('head'))!.shape).toEqual([2, channels]);
  });

  it('works inside of a residual block, and names what is near otherwise', async () => {
    const net = await fromGraph(tinyResNet());
    net.replaceHead({ labels: ['a', 'b'], after: 'layer1.1.conv1', layers: [globalAveragePool(), linear(2)] });
    expect(net.graph.nodes.some(({ name }) => name === 'layer1.1.add')).toBe(false);
    expect(() => net.replaceHead({ labels: ['a', 'b'], after: 'layer9' })).toThrow(code('ERR_NO_MATCH'));
  });

  it('keeps marks by name; the new head trains', async () => {
    const net = await fromGraph(tinyResNet());
    net.freeze('layer1', { batchNorm: 'statistics' }).freeze('conv1');
    const version = net.version;
    net.replaceHead({ labels: ['a', 'b'], after: 'layer2' });
    expect(net.frozen).toContain('conv1.weight');
    expect(net.batchNormModes['layer1.0.bn1']).toBe('statistics');
    expect(net.trainable).toContain('head.2.weight');
    expect(net.version.graph).toBe(version.graph + 1);
    expect(net.version.marks).toBeGreaterThan(version.marks);
  });
});

describe('what a head answers', () => {
  it('single, multi, regression', async () => {
    const net = await create('cifar_resnet20');
    net.replaceHead({ labels: ['sun', 'rain', 'snow'], kind: 'multi' });
    expect(net.head).toMatchObject({ kind: 'multi', outputs: 3 });
    net.replaceHead({ targets: ['age', 'height'] });
    expect(net.head).toMatchObject({ kind: 'regression', outputs: 2, targets: ['age', 'height'] });
    expect(net.labels).toEqual(['age', 'height']);
    net.replaceHead({ kind: 'regression', outputs: 1 });
    expect(net.labels).toEqual(['0']);
    net.replaceHead({ outputs: 4 });
    expect(net.labels).toEqual(['0', '1', '2', '3']);
    expect(net.labelsSource).toBe('index');
    net.setLabels(['a', 'b', 'c', 'd']);
    expect(net.labels[3]).toBe('d');
    expect(() => net.setLabels(['a'])).toThrow(code('ERR_LABELS'));
  });

  it('refuses what makes no sense', async () => {
    const net = await create('cifar_resnet20');
    for (const labels of [[], ['a'], ['a', 'a'], ['a', ''], ['a', 3], 'ab']) {
      expect(() => net.replaceHead({ labels } as never)).toThrow(code('ERR_LABELS'));
    }
    expect(() => net.replaceHead({})).toThrow(code('ERR_HEAD'));
    expect(() => net.replaceHead({ labels: ['a', 'b'], kind: 'both' as never })).toThrow(code('ERR_HEAD'));
    expect(() => net.replaceHead({ targets: ['a'], kind: 'multi' })).toThrow(code('ERR_HEAD'));
    expect(() => net.replaceHead({ labels: ['a', 'b'], dropout: 0.1 })).toThrow(code('ERR_HEAD'));
    expect(() => net.replaceHead({ labels: ['a', 'b'], outputs: 3 })).toThrow(code('ERR_HEAD'));
    expect(() => net.replaceHead({ labels: ['a', 'b'], preset: 'huge' as never })).toThrow(code('ERR_HEAD'));
  });

  it('needs layers where the last layer is not known, or is shared', async () => {
    const g = new GraphBuilder();
    const x = g.input('x', 'f32', ['N', 8]);
    const weight = g.parameter('shared.weight', [8, 8]);
    const y = g.linear('b', g.relu('r', g.linear('a', x, { weight })), { weight });
    const net = await fromGraph(g.build([y]), { name: 'tied' });
    expect(() => net.replaceHead(['a', 'b'])).toThrow(code('ERR_HEAD'));
    net.replaceHead({ labels: ['a', 'b'], after: 'r', layers: [linear(2)] });
    expect(shapeOf(net, 'head.0.weight')).toEqual([2, 8]);
  });
});

describe('features of a body', () => {
  it.each(architectures().filter((name) => !/110|152|101|wide|resnext/.test(name)))(
    '%s: as many as the zoo says',
    (name) => {
      const { graph, headBoundary, bodyChannels, input, classifier, classes } = build(name);
      expect(featureShape(graph, headBoundary, input)[0]).toBe(bodyChannels);
      expect(featureShape(graph, graph.outputs[0]!, input)).toEqual([classes]);
      expect(featureShape(graph, classifier, input)[0]).toBe(classes);
    },
  );
});
