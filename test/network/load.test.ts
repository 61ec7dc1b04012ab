import { describe, expect, it, vi } from 'vitest';
import { load } from '../../src/network/load.js';
import { create } from '../../src/network/create.js';
import { build } from '../../src/zoo/index.js';
import { sessions } from './fake-session.js';
import { tensorsOf, writeFile } from './files.js';
import type { Made } from './files.js';
import { tinyResNet } from './graphs.js';

vi.mock('../../src/native.js', async () => (await import('./fake-session.js')).fakeNative());

const code = (wanted: string, message?: string | RegExp) =>
  expect.objectContaining({ code: wanted, ...(message && { message: expect.stringMatching(message) }) });
const cifar = (): Made[] => tensorsOf(build('cifar_resnet20').graph);
const isHead = ({ name }: Made): boolean => /^(linear|fc)\./.test(name);

describe('load', () => {
  it('recognises an architecture, reads every tensor and says so', async () => {
    const progress: number[] = [];
    const path = writeFile('plain.safetensors', cifar());
    const net = await load(path, { onProgress: ({ loaded, total }) => progress.push(loaded / total) });
    expect(net.name).toBe('cifar_resnet20');
    expect(net.loadReport.loaded).toHaveLength(cifar().length);
    expect(net.loadReport.toString()).toBe(`${cifar().length} loaded, 0 dropped, 0 initialised, 0 mismatched`);
    expect(progress.at(-1)).toBe(1);
    expect(net.preprocessing?.source).toBe('assumed');
    expect(net.labels[3]).toBe('3');
    expect(net.labelsSource).toBe('index');
    const [first] = net.graph.parameters;
    expect((await net.tensor(first!.name)).data[0]).toBe(1);
  });

  it('takes labels and preprocessing that are given', async () => {
    const path = writeFile('labels.safetensors', cifar());
    const labels = Array.from({ length: 10 }, (_, i) => `label ${i}`);
    const net = await load(path, { labels, preprocessing: { resize: 40, crop: 32 } });
    expect(net.labels).toEqual(labels);
    expect(net.preprocessing).toMatchObject({ resize: 40, crop: 32, source: 'given' });
    await expect(load(path, { labels: ['a', 'b'] })).rejects.toEqual(code('ERR_LABELS', /10 names/));
    await expect(load(path, { preprocessing: { mean: [0] } })).rejects.toEqual(code('ERR_OPTION'));
  });

  it('gives a file without a head a new one, of as many outputs as labels', async () => {
    const path = writeFile(
      'headless.safetensors',
      cifar().filter((tensor) => !isHead(tensor)),
    );
    const net = await load(path, { labels: ['a', 'b'] });
    expect(net.head.outputs).toBe(2);
    expect(net.loadReport.initialised.map(({ name, expected }) => [name.split('.')[1], expected])).toEqual([
      ['weight', [2, 64]],
      ['bias', [2]],
    ]);
    expect((await load(path)).head.outputs).toBe(10);
    const vgg = tensorsOf(build('vgg11').graph).filter(({ name }) => name.startsWith('features'));
    const bare = await load(writeFile('vgg.safetensors', vgg));
    expect(bare.loadReport.initialised).toHaveLength(6);
  });

  it('draws counters that old files do not have', async () => {
    const path = writeFile(
      'old.safetensors',
      cifar().filter(({ name }) => !name.endsWith('num_batches_tracked')),
    );
    const net = await load(path);
    expect(net.loadReport.initialised.every(({ name }) => name.endsWith('num_batches_tracked'))).toBe(true);
    expect(net.loadReport.initialised.length).toBeGreaterThan(0);
  });

  it('refuses what does not fit, and leaves no session behind', async () => {
    const extra = writeFile('extra.safetensors', [...cifar(), { name: 'aux.weight', shape: [3] }]);
    const before = sessions.length;
    await expect(load(extra)).rejects.toEqual(
      code('ERR_LOAD_MISMATCH', /1 without a place in the network: aux.weight \[3\]/),
    );
    expect(sessions.slice(before).every(({ disposed }) => disposed)).toBe(true);
    const net = await load(extra, { drop: 'aux' });
    expect(net.loadReport.dropped).toEqual([{ name: 'aux.weight', received: [3], note: 'as asked' }]);
    await expect(load(extra, { drop: 'ax' })).rejects.toEqual(code('ERR_NO_MATCH', /'aux'/));

    const other = cifar().map((tensor) =>
      isHead(tensor) ? { ...tensor, shape: [10, 7].slice(0, tensor.shape.length) } : tensor,
    );
    const path = writeFile('other.safetensors', other);
    await expect(load(path)).rejects.toEqual(
      code('ERR_LOAD_MISMATCH', /wrong shape or type: \w+\.weight \[10, 64\], received \[10, 7\]/),
    );
    const dropped = await load(path, { drop: other.find(isHead)!.name.split('.')[0]! });
    expect(dropped.loadReport.mismatched).toMatchObject([
      { expected: [10, 64], received: [10, 7], note: 'dropped as asked' },
    ]);
    expect(dropped.loadReport.initialised).toHaveLength(2);
    expect(dropped.loadReport.toString()).toContain('dropped as asked');
  });

  it("says what is missing when a graph of one's own is given, and what is near when nothing is known", async () => {
    const graph = tinyResNet();
    const path = writeFile(
      'tiny.safetensors',
      tensorsOf(graph).filter(({ name }) => name !== 'bn1.bias'),
    );
    await expect(load(path, { architecture: graph })).rejects.toEqual(
      code('ERR_LOAD_MISMATCH', /1 missing: bn1.bias \[4\]/),
    );
    const net = await load(path, { architecture: graph, drop: 'bn1.bias' });
    expect(net.name).toBe('custom');
    expect(net.head).toMatchObject({ classifier: 'fc', outputs: 3 });
    await expect(load(path)).rejects.toEqual(code('ERR_UNKNOWN_ARCHITECTURE', /give { architecture }/));
    await expect(load(path, { architecture: 'resnet19' })).rejects.toEqual(code('ERR_ARCHITECTURE', /resnet18/));
    await expect(load(path, { architecture: 'resnet18' })).rejects.toEqual(code('ERR_LOAD_MISMATCH'));
  });

  it('checks its options before it reads', async () => {
    const path = writeFile('options.safetensors', cifar());
    await expect(load(path, { device: 'cuda' })).rejects.toEqual(code('ERR_DEVICE', /GPU/));
    await expect(load(path, { device: 'tpu' as never })).rejects.toEqual(code('ERR_ARGUMENT'));
    await expect(load(path, { channels: 2 as never })).rejects.toEqual(code('ERR_CHANNELS'));
    await expect(load(path, { seed: -1 })).rejects.toEqual(code('ERR_OPTION'));
    await expect(load('https://example.com/x.pth')).rejects.toEqual(code('ERR_PATH', /web address/));
    await expect(load('')).rejects.toEqual(code('ERR_PATH'));
  });

  it('stops when it is told to', async () => {
    const path = writeFile('abort.safetensors', cifar());
    await expect(load(path, { signal: AbortSignal.abort() })).rejects.toEqual(code('ERR_ABORTED'));
    const control = new AbortController();
    const before = sessions.length;
    await expect(load(path, { signal: control.signal, onProgress: () => control.abort() })).rejects.toEqual(
      code('ERR_ABORTED'),
    );
    expect(sessions).toHaveLength(before + 1);
    expect(sessions.at(-1)!.disposed).toBe(true);
  });
});

describe('channels', () => {
  const weights = (channels: number): { tensors: Made[]; name: string } => {
    const { graph } = build('cifar_resnet20', { channels });
    const name = graph.parameters[0]!.name;
    const area = 9;
    // Channel c of every filter holds c + 1.
    const value = Array.from({ length: 16 * channels * area }, (_, i) => (Math.floor(i / area) % channels) + 1);
    return { name, tensors: tensorsOf(graph).map((tensor) => (tensor.name === name ? { ...tensor, value } : tensor)) };
  };
  const column = (data: ArrayLike<unknown>, channels: number): unknown[] =>
    Array.from({ length: channels }, (_, c) => data[c * 9]);

  it.each([
    [3, 1, [6], 'summed over the input channels'],
    [3, 4, [1, 2, 3, 0], 'zero for the fourth input channel'],
    [1, 3, [1 / 3, 1 / 3, 1 / 3], 'a third for each of the three input channels'],
  ] as const)('from %d to %d', async (from, to, expected, note) => {
    const { tensors, name } = weights(from);
    const net = await load(writeFile(`channels-${from}-${to}.safetensors`, tensors), { channels: to });
    const { data, shape } = await net.tensor(name);
    expect(shape).toEqual([16, to, 3, 3]);
    expect(column(data, to)).toEqual([...expected].map(Math.fround));
    expect(net.loadReport.mismatched).toEqual([{ name, expected: [16, to, 3, 3], received: [16, from, 3, 3], note }]);
    expect(net.loadReport.loaded.some((tensor) => tensor.name === name)).toBe(false);
    expect(net.graph.inputs[0]!.shape[1]).toBe(to);
    expect(net.preprocessing!.mean).toHaveLength(to);
    expect(net.preprocessing!.channels).toBe(to);
    expect(net.input!.channels).toBe(to);
  });

  it('says nothing where they are right already, and refuses what has no rule', async () => {
    const { tensors } = weights(3);
    expect((await load(writeFile('same.safetensors', tensors), { channels: 3 })).loadReport.mismatched).toEqual([]);
    const four = weights(4);
    await expect(load(writeFile('four.safetensors', four.tensors), { channels: 1 })).rejects.toEqual(
      code('ERR_CHANNELS', /4 to 1/),
    );
    expect((await create('cifar_resnet20', { channels: 1 })).graph.inputs[0]!.shape[1]).toBe(1);
  });
});
