import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/formats/checkpoint.js';
import { hasTorch, python, temporaryFolder } from '../python.js';
import { zip } from './zip-writer.js';
import { denseBytes } from './dense.js';

const FIXTURES = fileURLToPath(new URL('fixtures.py', import.meta.url));
const DTYPES: Record<string, string> = {
  'torch.float64': 'F64',
  'torch.float32': 'F32',
  'torch.float16': 'F16',
  'torch.bfloat16': 'BF16',
  'torch.int64': 'I64',
  'torch.int32': 'I32',
  'torch.int16': 'I16',
  'torch.int8': 'I8',
  'torch.uint8': 'U8',
  'torch.bool': 'BOOL',
};

interface Expected {
  format: string;
  tensors: Record<string, { dtype: string; shape: number[]; bytes: string }>;
  aliases: Record<string, string>;
  prefix?: string;
  nested?: string;
}

describe.skipIf(!hasTorch())('files of torch.save', () => {
  const folder = temporaryFolder();
  const file = (name: string): string => join(folder.path, name);
  let expected: Record<string, Expected> = {};

  beforeAll(() => {
    python(FIXTURES, folder.path);
    expected = JSON.parse(readFileSync(file('expected.json'), 'utf8')) as Record<string, Expected>;
  }, 120_000);
  afterAll(folder.remove);

  it('are read to the same tensors, bit for bit', async () => {
    expect(Object.keys(expected).length).toBeGreaterThan(15);
    for (const [name, want] of Object.entries(expected)) {
      const checkpoint = await openCheckpoint(file(name));
      expect(checkpoint.format, name).toBe(want.format);
      expect([...checkpoint.tensors.keys()], name).toEqual(Object.keys(want.tensors));
      expect(Object.fromEntries(checkpoint.aliases), name).toEqual(want.aliases);
      expect(checkpoint.metadata['prefix'], name).toBe(want.prefix);
      expect(checkpoint.metadata['nested'], name).toBe(want.nested);
      for (const [key, tensor] of Object.entries(want.tensors)) {
        const entry = checkpoint.tensors.get(key)!;
        expect(entry.dtype, `${name} ${key}`).toBe(DTYPES[tensor.dtype]);
        expect(entry.shape, `${name} ${key}`).toEqual(tensor.shape);
        expect(denseBytes(entry).toString('hex'), `${name} ${key}`).toBe(tensor.bytes);
      }
    }
  });

  it('name what was skipped', async () => {
    const { metadata } = await openCheckpoint(file('nested.zip.pth'));
    expect(metadata['skipped']).toMatch(/^epoch, best, optimizer, lr, big, /);
  });

  it('may have a pickle longer than the first read', async () => {
    const { tensors } = await openCheckpoint(file('many.legacy.pth'));
    expect(tensors.size).toBe(9000);
    const last = [...tensors.values()].at(-1)!;
    expect(denseBytes(last).readFloatLE()).toBe(8999);
  });

  it.each([
    ['evil.pth', 'posix.system'],
    ['evil.legacy.pth', 'posix.system'],
    ['module.pth', 'torch.nn.modules.container.Sequential'],
    ['namespace.pth', 'argparse.Namespace'],
    ['quantised.pth', 'torch._utils._rebuild_qtensor'],
    ['sparse.pth', 'torch._utils._rebuild_sparse_tensor'],
    ['script.pt', '__torch__.torch.nn.modules.linear.Linear'],
  ])('%s is refused, naming %s', async (name, global) => {
    await expect(openCheckpoint(file(name))).rejects.toMatchObject({
      code: 'ERR_PICKLE_UNSAFE',
      message: expect.stringContaining(`received ${global},`) as string,
    });
    expect(existsSync(file('executed'))).toBe(false);
  });

  it('tells other zip archives', async () => {
    expect((await openCheckpoint(file('arrays.npz'))).format).toBe('npz');
    const other = file('other.zip');
    writeFileSync(other, zip([{ name: 'a.txt', bytes: Buffer.from('text') }]));
    await expect(openCheckpoint(other)).rejects.toMatchObject({ code: 'ERR_FORMAT_UNKNOWN' });
  });

  it.each([
    ['no_tensors.pth', 'the entries epoch'],
    ['list.pth', 'received [Tensor]'],
    ['complex.pth', 'a ComplexFloatStorage'],
    ['expanded.pth', 'tensors of'],
    ['compressed.pth', 'compression method 8'],
    ['big_endian.pth', 'little-endian'],
    ['short_storage.pth', 'storage of tensor'],
  ])('%s is an error that says %s', async (name, words) => {
    await expect(openCheckpoint(file(name))).rejects.toMatchObject({
      code: 'ERR_TORCH_FILE',
      message: expect.stringContaining(words) as string,
    });
  });
});
