import { describe, expect, it, vi } from 'vitest';
import { create, fromGraph } from '../../src/network/create.js';
import { matchesName, nearest } from '../../src/network/patterns.js';
import { architectures, build } from '../../src/zoo/index.js';

import { tinyResNet } from './graphs.js';

vi.mock('../../src/native.js', async () => (await import('./fake-session.js')).fakeNative());

const net = () => fromGraph(tinyResNet());
const inside = (names: string[], prefix: string): boolean => names.every((name) => matchesName(prefix, name));

describe('names', () => {
  it('match whole dotted segments', () => {
    expect(matchesName('features.1', 'features.1.weight')).toBe(true);
    expect(matchesName('features.1', 'features.10.weight')).toBe(false);
    expect(matchesName('features.1', 'features')).toBe(false);
    expect(matchesName('fc', 'fc')).toBe(true);
  });

  it('have globs that cross dots and end at a segment', () => {
    expect(matchesName('layer*.bn1', 'layer1.0.bn1.bias')).toBe(true);
    expect(matchesName('layer*.bn', 'layer1.0.bn1.bias')).toBe(false);
    expect(matchesName('*bias', 'layer1.0.bn1.bias')).toBe(true);
    expect(matchesName('layer1.*', 'layer10.0.bn1.bias')).toBe(false);
    expect(matchesName('a+b.*', 'a+b.c')).toBe(true);
    expect(matchesName('a.b*', 'axb')).toBe(false);
  });

  it('suggest the nearest', () => {
    expect(nearest('layr1', ['layer1.0.weight', 'layer10.0.weight', 'fc.bias'])[0]).toBe('layer1');
  });
});

describe('freeze', () => {
  it('freezes all, and nothing is trainable', async () => {
    const n = await net();
    expect(n.trainable).toHaveLength(n.graph.parameters.length);
    expect(n.freeze()).toBe(n);
    expect(n.trainable).toEqual([]);
    expect(n.frozen).toHaveLength(n.graph.parameters.length + n.graph.states.length);
  });

  it('takes a prefix by whole segments', async () => {
    const n = (await net()).freeze('layer1');
    expect(inside(n.frozen, 'layer1')).toBe(true);
    expect(n.trainable).toContain('layer10.0.conv1.weight');
  });

  it('takes globs, regular expressions, predicates and lists', async () => {
    expect((await net()).freeze('*.conv2').frozen).toHaveLength(4);
    expect((await net()).freeze(/bn/g).trainable.some((name) => name.includes('bn'))).toBe(false);
    expect((await net()).freeze((_, shape) => shape.length === 4).trainable.some((name) => name.includes('conv'))).toBe(
      false,
    );
    const n = (await net()).freeze(['conv1', /^fc/, 'bn1']);
    expect(n.frozen).toEqual(expect.arrayContaining(['conv1.weight', 'fc.weight', 'fc.bias', 'bn1.running_mean']));
    expect(n.frozen).not.toContain('layer1.0.bn1.weight');
  });

  it('takes ranges, inclusive in graph order', async () => {
    const n = (await net()).freeze({ until: 'layer1' });
    expect(n.trainable.filter((name) => !/^(layer2|layer10|fc)\b/.test(name))).toEqual([]);
    expect(n.frozen).toContain('layer1.1.bn2.num_batches_tracked');
    const m = (await net()).freeze().unfreeze({ from: 'layer2' });
    expect(m.trainable[0]).toBe('layer2.0.conv1.weight');
    expect(m.trainable.at(-1)).toBe('fc.bias');
    const between = (await net()).freeze({ from: 'pool', until: /^layer2/ });
    expect(inside(between.frozen, 'layer2')).toBe(true);
  });

  it('throws when nothing matches, naming what is near', async () => {
    const n = await net();
    expect(() => n.freeze('layr1')).toThrow(
      expect.objectContaining({ code: 'ERR_NO_MATCH', message: expect.stringContaining("'layer1'") }),
    );
    expect(() => n.freeze(/nothing/)).toThrow(expect.objectContaining({ code: 'ERR_NO_MATCH' }));
    expect(() => n.freeze(['fc', 'layer7'])).toThrow(expect.objectContaining({ code: 'ERR_NO_MATCH' }));
    expect(() => n.freeze({ until: 'layer7' })).toThrow(expect.objectContaining({ code: 'ERR_NO_MATCH' }));
    expect(() => n.freeze({ untl: 'layer1' } as never)).toThrow(expect.objectContaining({ code: 'ERR_PATTERN' }));
    expect(() => n.freeze(3 as never)).toThrow(expect.objectContaining({ code: 'ERR_PATTERN' }));
    expect(n.frozen).toEqual([]);
  });

  it('takes effect at once: each change is a new version', async () => {
    const n = await net();
    const before = n.version.marks;
    n.freeze('fc').unfreeze('fc');
    expect(n.version.marks).toBe(before + 2);
    expect(n.frozen).toEqual([]);
  });
});

describe('batch norm under marks', () => {
  it('is frozen by default under freeze and trains by default under unfreeze', async () => {
    const n = (await net()).freeze('layer1');
    expect(n.batchNormModes['layer1.0.bn1']).toBe('frozen');
    expect(n.batchNormModes['layer2.0.bn1']).toBe('train');
    n.unfreeze('layer1');
    expect(n.batchNormModes['layer1.0.bn1']).toBe('train');
  });

  it("'statistics' fixes scale and shift, and lets the running statistics move", async () => {
    const n = (await net()).freeze('layer1', { batchNorm: 'statistics' });
    expect(n.batchNormModes['layer1.1.bn2']).toBe('statistics');
    expect(n.trainable).not.toContain('layer1.1.bn2.weight');
    expect(n.frozen).toContain('layer1.1.bn2.weight');
    expect(n.frozen).not.toContain('layer1.1.bn2.running_mean');
    n.freeze('layer1');
    expect(n.batchNormModes['layer1.1.bn2']).toBe('frozen');
    expect(n.frozen).toContain('layer1.1.bn2.running_mean');
  });

  it("'train' under freeze leaves batch norms training, 'frozen' under unfreeze leaves them frozen", async () => {
    const n = (await net()).freeze(undefined, { batchNorm: 'train' });
    expect(n.trainable.every((name) => name.includes('bn'))).toBe(true);
    n.freeze().unfreeze({ from: 'layer2' }, { batchNorm: 'frozen' });
    expect(n.trainable.some((name) => name.includes('bn'))).toBe(false);
    expect(n.trainable).toContain('layer2.0.conv1.weight');
    expect(n.batchNormModes['layer2.0.bn1']).toBe('frozen');
  });

  it('is frozen when its scale and shift are named one by one', async () => {
    const n = (await net()).freeze(['bn1.weight', 'bn1.bias']);
    expect(n.batchNormModes.bn1).toBe('frozen');
    expect(n.frozen).toEqual(expect.arrayContaining(['bn1.running_mean', 'bn1.running_var']));
    n.unfreeze('bn1.bias');
    expect(n.batchNormModes.bn1).toBe('train');
  });
});

describe('the lock of a fit', () => {
  it('lets marks change only while it is open', async () => {
    const n = await net();
    const lock = n.lock();
    expect(n.busy).toBe('fit');
    const busy = expect.objectContaining({ code: 'ERR_NETWORK_BUSY' });
    expect(() => n.freeze('fc')).toThrow(busy);
    lock.open();
    n.freeze('fc');
    expect(() => n.replaceHead(['a', 'b'])).toThrow(busy);
    lock.close();
    expect(() => n.unfreeze('fc')).toThrow(busy);
    expect(() => n.lock()).toThrow(busy);
    lock.release();
    lock.release();
    n.unfreeze('fc');
    expect(n.busy).toBe(null);
  });
});

describe('a stage of the zoo', () => {
  it.each(architectures())('%s: what lies behind it still trains', async (name) => {
    const { layers, graph } = build(name);
    const middle = layers.length >> 1;
    const n = (await create(name)).freeze({ until: layers[middle]! });
    const behind = layers.slice(middle + 1);
    const expected = graph.parameters.map((t) => t.name).filter((t) => behind.some((stage) => matchesName(stage, t)));
    expect(behind.length).toBeGreaterThan(0);
    expect([...n.trainable].sort()).toEqual(expected.sort());
    n.dispose();
  });
});
