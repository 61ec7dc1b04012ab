import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { openCheckpoint } from '../../src/formats/checkpoint.js';
import { ThawError } from '../../src/errors.js';
import { GraphBuilder } from '../../src/graph/builder.js';
import { create, fromGraph } from '../../src/network/create.js';
import { linear, relu } from '../../src/network/head-layers.js';
import { load } from '../../src/network/load.js';
import { build } from '../../src/zoo/index.js';
import { FakeSession } from './fake-session.js';
import { folder, tensorsOf, writeFile } from './files.js';
import { tinyResNet } from './graphs.js';

vi.mock('../../src/native.js', async () => (await import('./fake-session.js')).fakeNative());

const at = (name: string): string => join(folder, name);
const code = (wanted: string) => expect.objectContaining({ code: wanted });

describe('save', () => {
  it('and load: everything about a network comes back', async () => {
    const net = await create('cifar_resnet20', { seed: 3 });
    net.freeze('layer1', { batchNorm: 'statistics' }).freeze('conv1');
    net.replaceHead({ labels: ['sun', 'rain'], kind: 'multi', layers: [linear(8), relu(), linear(2)] });
    net.setHeadMeaning({ threshold: 0.4 });
    await net.save(at('whole.safetensors'), { metadata: { author: 'me' } });
    const back = await load(at('whole.safetensors'));
    expect(back.name).toBe('cifar_resnet20');
    expect(back.architecture).toEqual(net.architecture);
    expect(back.graph).toEqual(net.graph);
    expect(back.head).toEqual(net.head);
    expect(back.labels).toEqual(['sun', 'rain']);
    expect(back.labelsSource).toBe('file');
    expect(back.marks).toEqual(net.marks);
    expect(back.batchNormModes).toEqual(net.batchNormModes);
    expect(back.layers).toEqual(net.layers);
    expect(back.preprocessing).toEqual({ ...net.preprocessing, source: 'file' });
    expect(back.loadReport.initialised).toEqual([]);
    const file = await openCheckpoint(at('whole.safetensors'));
    expect(file.metadata).toMatchObject({ format: 'pt', author: 'me', 'thaw.format': '1' });
    expect([...file.tensors.keys()].sort()).toEqual(
      net
        .parameters()
        .map(({ name }) => name)
        .sort(),
    );
  });

  it('keeps loaded bytes and types, under their own names, and replaces a file whole', async () => {
    const graph = tinyResNet();
    const made = tensorsOf(graph).map((tensor) =>
      tensor.dtype === 'F32' ? { ...tensor, dtype: 'F16' as const } : tensor,
    );
    const path = writeFile('half.safetensors', made);
    const net = await load(path, { architecture: graph });
    await net.save(path);
    const before = await openCheckpoint(writeFile('half-again.safetensors', made));
    const after = await openCheckpoint(path);
    for (const [name, entry] of before.tensors) {
      const other = after.tensors.get(name)!;
      expect(other.dtype).toBe(entry.dtype);
      expect(bytes(other)).toEqual(bytes(entry));
    }
    expect(readdirSync(folder).filter((name) => name.endsWith('.part'))).toEqual([]);
  });

  it('leaves the optimizer and the like out', async () => {
    const net = await fromGraph(tinyResNet());
    await net.session.submit('put', { tensors: [{ name: 'optimizer/momentum/fc.bias', dtype: 'F32', shape: [1] }] }, [
      Float32Array.of(1),
    ]);
    await net.save(at('bare.safetensors'));
    const { tensors } = await openCheckpoint(at('bare.safetensors'));
    expect([...tensors.keys()].some((name) => name.startsWith('optimizer'))).toBe(false);
  });

  it('makes the header anew when a step changed a type in between', async () => {
    const net = await fromGraph(tinyResNet());
    const session = net.session as unknown as FakeSession;
    session.fail.set('write', new ThawError('ERR_TENSOR_CHANGED', 'changed'));
    await net.save(at('changed.safetensors'));
    expect(session.of('write')).toHaveLength(2);
    session.fail.set('write', new ThawError('ERR_IO', 'full'));
    await expect(net.save(at('full.safetensors'))).rejects.toEqual(code('ERR_IO'));
    await expect(net.save('')).rejects.toEqual(code('ERR_PATH'));
    await expect(net.save(at('x'), { metadata: { 'thaw.format': '2' } })).rejects.toEqual(code('ERR_OPTION'));
  });

  it('writes tied weights once, and gives aliases back', async () => {
    const g = new GraphBuilder();
    const weight = g.parameter('tied.weight', [4, 4]);
    const y = g.linear('a', g.input('x', 'f32', ['N', 4]), { weight });
    const graph = g.build([g.linear('b', y, { weight })]);
    const net = await fromGraph(graph);
    await net.save(at('tied.safetensors'));
    expect([...(await openCheckpoint(at('tied.safetensors'))).tensors.keys()]).toEqual(['tied.weight']);
    expect((await load(at('tied.safetensors'))).trainable).toEqual(['tied.weight']);
  });
});

describe('a saved file that is not what it should be', () => {
  const network = async (change: (saved: Record<string, unknown>) => void): Promise<string> => {
    const net = await fromGraph(tinyResNet());
    await net.save(at('good.safetensors'));
    const { metadata } = await openCheckpoint(at('good.safetensors'));
    const saved = JSON.parse(metadata['thaw.network']!);
    change(saved);
    return writeFile('bad.safetensors', tensorsOf(tinyResNet()), {
      ...metadata,
      'thaw.network': JSON.stringify(saved),
    });
  };

  it('a newer version', async () => {
    const path = writeFile('newer.safetensors', tensorsOf(build('cifar_resnet20').graph), { 'thaw.format': '2' });
    await expect(load(path)).rejects.toEqual(code('ERR_FORMAT_VERSION'));
    const broken = writeFile('broken.safetensors', [], { 'thaw.format': '1', 'thaw.network': '{' });
    await expect(load(broken)).rejects.toEqual(code('ERR_FORMAT'));
    await expect(load(writeFile('odd.safetensors', [], { 'thaw.format': 'x' }))).rejects.toEqual(code('ERR_FORMAT'));
  });

  it.each<[string, (saved: Record<string, any>) => void, string]>([
    ['labels', (saved) => (saved.labels = ['a']), 'ERR_FORMAT'],
    ['head', (saved) => (saved.head.kind = 'other'), 'ERR_FORMAT'],
    ['marks', (saved) => (saved.marks = null), 'ERR_FORMAT'],
    ['nodes', (saved) => (saved.graph.nodes = 3), 'ERR_GRAPH'],
    ['operand', (saved) => (saved.graph.nodes[0].inputs[0] = 'nothing'), 'ERR_GRAPH'],
    ['name used twice', (saved) => (saved.graph.nodes[1].name = saved.graph.nodes[0].name), 'ERR_GRAPH'],
    ['huge tensor', (saved) => (saved.graph.parameters[0].shape = [2 ** 30, 2 ** 30]), 'ERR_GRAPH'],
    ['negative size', (saved) => (saved.graph.parameters[0].shape = [-4, 3, 3, 3]), 'ERR_GRAPH'],
    ['output', (saved) => (saved.graph.outputs = ['nothing']), 'ERR_GRAPH'],
    ['shape', (saved) => (saved.graph.parameters[0].shape = [5, 3, 3, 3]), 'ERR_LOAD_MISMATCH'],
  ])('%s', async (_, change, wanted) => {
    await expect(load(await network(change))).rejects.toEqual(code(wanted));
  });
});

function bytes({ source, shape, dtype }: { source: unknown; shape: number[]; dtype: string }): Buffer {
  const { path, offset } = source as { path: string; offset: number };
  const size = shape.reduce((a, b) => a * b, 1) * (dtype === 'I64' ? 8 : dtype === 'F16' ? 2 : 4);
  return readFileSync(path).subarray(offset, offset + size);
}
