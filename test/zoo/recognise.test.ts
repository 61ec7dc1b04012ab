import { describe, expect, it, vi } from 'vitest';
import { elements, openCheckpoint } from '../../src/formats/checkpoint.js';
import { marks } from '../../src/zoo/build.js';
import { architectures, build, recognise, type Config } from '../../src/zoo/index.js';
import { sharedPath } from '../shared.js';

vi.mock(import('../../src/zoo/build.js'), async (original) => {
  const actual = await original();
  return { ...actual, build: vi.fn(actual.build) };
});

type Tensors = Map<string, { shape: number[] }>;

function tensorsOf(name: string, config: Config = {}): Tensors {
  const { graph } = build(name, config);
  return new Map([...graph.parameters, ...graph.states].map(({ name: key, shape }) => [key, { shape }]));
}

function renamed(tensors: Tensors, rename: (name: string) => string | null): Tensors {
  const entries = [...tensors].map(([name, tensor]) => [rename(name), tensor] as const);
  return new Map(entries.filter((e): e is [string, { shape: number[] }] => e[0] !== null));
}

describe.each(architectures())('recognise %s', (name) => {
  const usual = name.startsWith('cifar') ? 10 : 1000;
  const { classifier } = build(name);
  const head = classifier.split('.')[0]!;
  const plain = { name, classes: usual, channels: 3, headMissing: false, prefix: '' };

  it('as published, with other classes, with 1 and 4 channels', () => {
    expect(recognise(tensorsOf(name))).toEqual(plain);
    expect(recognise(tensorsOf(name, { classes: 3 }))).toEqual({ ...plain, classes: 3 });
    expect(recognise(tensorsOf(name, { channels: 1 }))).toEqual({ ...plain, channels: 1 });
    expect(recognise(tensorsOf(name, { channels: 4, classes: 1 }))).toEqual({ ...plain, channels: 4, classes: 1 });
  });

  it('by building no other network', () => {
    const files = [tensorsOf(name), renamed(tensorsOf(name, { classes: 3, channels: 1 }), (n) => `backbone.${n}`)];
    for (const file of files) {
      vi.mocked(build).mockClear();
      recognise(file);
      expect(new Set(vi.mocked(build).mock.calls.map(([built]) => built))).toEqual(new Set([name]));
    }
  });

  it('by a mark that is of its body and of nothing else', () => {
    const { first, body, elements: marked } = marks().get(name)!;
    const { graph } = build(name);
    const all = [...graph.parameters, ...graph.states];
    const stages = new Set(all.map((t) => t.name.split('.')[0]!).filter((stage) => stage !== head));
    expect(first).toBe(graph.parameters[0]!.name);
    for (const { name: own } of all) expect(body.test(own), own).toBe(!own.startsWith(`${head}.`));
    // A layer outside of all stages is another network's, and no part of the sum.
    for (const stage of stages) expect(body.test(`${stage}x.weight`) || body.test(`x${stage}.weight`)).toBe(false);
    const counted = all.filter((t) => body.test(t.name) && t.name !== first && !t.name.endsWith('tracked'));
    expect(counted.reduce((sum, { shape }) => sum + elements(shape), 0)).toBe(marked);
  });

  it('without its last layer, without its head, with a foreign head', () => {
    const missing = { ...plain, headMissing: true };
    expect(recognise(renamed(tensorsOf(name), (n) => (n.startsWith(`${classifier}.`) ? null : n)))).toEqual(missing);
    const body = renamed(tensorsOf(name), (n) => (n.startsWith(`${head}.`) ? null : n));
    expect(recognise(body)).toEqual(missing);
    const foreign = new Map([...body, [`${classifier}.weight`, { shape: [5, 17] }], ['fc2.weight', { shape: [2, 5] }]]);
    expect(recognise(foreign)).toEqual(missing);
  });

  it('with a prefix, with other tensors beside it, without num_batches_tracked', () => {
    for (const prefix of ['backbone.', 'module.model.', 'encoder.body.']) {
      const wrapped = renamed(tensorsOf(name), (n) => prefix + n);
      wrapped.set('neck.conv1.weight', { shape: [8, 8, 3, 3] });
      expect(recognise(wrapped)).toEqual({ ...plain, prefix });
    }
    expect(recognise(renamed(tensorsOf(name), (n) => (n.endsWith('tracked') ? null : n)))).toEqual(plain);
  });
});

describe('recognise', () => {
  it.each([
    ['googlenet', 'aux2.fc1.bias'],
    ['inception_v3', 'AuxLogits.fc.bias'],
  ])('%s with its auxiliary heads', (name, left) => {
    const all = tensorsOf(name, { auxiliary: true, classes: 5 });
    const found = { name, classes: 5, channels: 3, headMissing: false, prefix: '' };
    expect(recognise(all)).toEqual({ ...found, auxiliary: true });
    expect(recognise(renamed(all, (n) => (n === left ? null : n)))).toEqual(found);
  });

  it('does not take another network for one that it contains', () => {
    const deeper = tensorsOf('resnet18');
    deeper.set('layer1.2.conv1.weight', { shape: [64, 64, 3, 3] });
    expect(recognise(deeper)).toEqual({
      candidates: expect.arrayContaining(['resnet18']) as string[],
      reasons: expect.objectContaining({
        resnet18: '100 tensors fit, 1 do not: layer1.2.conv1.weight is not part of it',
      }) as Record<string, string>,
    });
  });

  it('names the nearest, with reasons', () => {
    const narrow = tensorsOf('resnet50');
    narrow.set('layer2.0.conv2.weight', { shape: [64, 128, 3, 3] });
    narrow.delete('layer4.2.bn3.bias');
    const result = recognise(narrow) as { candidates: string[]; reasons: Record<string, string> };
    expect(result.candidates[0]).toBe('resnet50');
    expect(result.candidates.length).toBeLessThanOrEqual(3);
    expect(result.reasons['resnet50']).toContain(
      '2 do not: layer2.0.conv2.weight: expected [128, 128, 3, 3], received [64, 128, 3, 3]; layer4.2.bn3.bias is missing',
    );
  });

  it('finds nothing alike in nothing', () => {
    expect(recognise(new Map())).toEqual({ candidates: [], reasons: {} });
    expect(recognise(new Map([['__proto__', { shape: [] }]]))).toEqual({ candidates: [], reasons: {} });
  });
});

const real = sharedPath('weights');

describe.skipIf(!real)('real files', () => {
  it.each([
    ['squeezenet1_1/squeezenet1_1.pth', 'squeezenet1_1', 1000],
    ['squeezenet1_1/squeezenet1_1-legacy.pth', 'squeezenet1_1', 1000],
    ['squeezenet1_1/squeezenet1_1.safetensors', 'squeezenet1_1', 1000],
    ['resnet-cifar10/resnet20-12fca82f.th', 'cifar_resnet20', 10],
    ['resnet-cifar10/resnet32-d509ac18.th', 'cifar_resnet32', 10],
    ['resnet-cifar10/resnet44-014dd654.th', 'cifar_resnet44', 10],
    ['resnet-cifar10/resnet56-4bfd9763.th', 'cifar_resnet56', 10],
  ])('%s is %s', async (path, name, classes) => {
    const { tensors } = await openCheckpoint(sharedPath('weights', path)!);
    expect(recognise(tensors)).toEqual({ name, classes, channels: 3, headMissing: false, prefix: '' });
  });

  it('a ShuffleNetV2 is none of the zoo', async () => {
    const { tensors } = await openCheckpoint(sharedPath('weights/shufflenetv2-fastestdet/module/shufflenetv2.pth')!);
    expect(recognise(tensors)).toHaveProperty('candidates');
  });
});
