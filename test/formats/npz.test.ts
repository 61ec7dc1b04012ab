import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/formats/checkpoint.js';
import { temporaryFolder } from '../python.js';
import { denseBytes } from './dense.js';
import { zip, type ZipEntry } from './zip-writer.js';

const folder = temporaryFolder();
afterAll(folder.remove);

/** An array as NumPy writes it. */
function npy(shape: number[], values: Float32Array, order = 'False', descr = '<f4'): Buffer {
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const text = `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': (${sizes}), }`;
  const header = text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11 + 64 - 10 - 53) + '\n';
  const head = Buffer.from('\x93NUMPY\x01\x00\x00\x00', 'latin1');
  head.writeUInt16LE(header.length, 8);
  return Buffer.concat([head, Buffer.from(header), Buffer.from(values.buffer)]);
}

function write(entries: ZipEntry[]): string {
  const file = path.join(folder.path, 'a.npz');
  writeFileSync(file, zip(entries));
  return file;
}

const code = (entries: ZipEntry[]): Promise<string> =>
  openCheckpoint(write(entries)).then(
    () => 'none',
    (error: { code: string }) => error.code,
  );

const values = Float32Array.from({ length: 6 }, (_, i) => i);

describe('.npz', () => {
  it.each([false, true])('reads arrays, deflated: %s, row-major and column-major', async (deflate) => {
    const file = write([
      { name: 'a/weight.npy', bytes: npy([2, 3], values), deflate },
      { name: 'b.npy', bytes: npy([2, 3], values, 'True'), deflate },
      { name: 'c.npy', bytes: npy([6], values), deflate },
    ]);
    const { tensors, format } = await openCheckpoint(file);
    expect(format).toBe('npz');
    const read = (name: string): number[] => {
      const bytes = denseBytes(tensors.get(name)!);
      return [...new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength))];
    };
    expect(tensors.get('a/weight')!.shape).toEqual([2, 3]);
    expect(read('a/weight')).toEqual([0, 1, 2, 3, 4, 5]);
    expect(read('b')).toEqual([0, 2, 4, 1, 3, 5]);
    expect(tensors.get('c')!.shape).toEqual([6]);
  });

  it('says what is wrong', async () => {
    const bytes = npy([2, 3], values);
    expect(await code([{ name: 'a.npy', bytes: bytes.subarray(0, bytes.length - 4) }])).toBe('ERR_NPZ');
    expect(await code([{ name: 'a.npy', bytes: npy([2 ** 30, 2 ** 30], values) }])).toBe('ERR_NPZ');
    expect(await code([{ name: 'a.npy', bytes: npy([6], values, 'False', '|O') }])).toBe('ERR_NPZ');
    expect(await code([{ name: 'a.npy', bytes: Buffer.from('no array at all') }])).toBe('ERR_NPZ');
    expect(await code([{ name: 'a.npy', bytes, deflate: true, size: 100 }])).toBe('ERR_NPZ');
    expect(await code([{ name: 'a.npy', bytes, deflate: true, size: 0xfffffff0 }])).toBe('ERR_NPZ');
    expect(await code([{ name: 'a.npy', bytes, size: 1 << 20 }])).toBe('ERR_FILE_TRUNCATED');
  });

  it.each([
    ['a.npy', 'ERR_NPZ'],
    ['metadata.json', 'ERR_KERAS'],
    ['archive/data.pkl', 'ERR_TORCH_FILE'],
  ])('with a damaged directory, its first member %s, is %s', async (name, expected) => {
    const file = write([{ name, bytes: npy([2, 3], values) }]);
    const bytes = readFileSync(file);
    bytes[bytes.indexOf('PK\x01\x02', 0, 'latin1') + 2] = 9;
    writeFileSync(file, bytes);
    await expect(openCheckpoint(file)).rejects.toMatchObject({ code: expected });
  });
});
