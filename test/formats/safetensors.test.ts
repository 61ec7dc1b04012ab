import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openCheckpoint, safetensorsHeader } from '../../src/formats/checkpoint.js';
import { temporaryFolder } from '../python.js';
import { denseBytes } from './dense.js';

const folder = temporaryFolder();
afterAll(folder.remove);

function write(head: Uint8Array, data: Uint8Array = Buffer.alloc(0)): string {
  const path = join(folder.path, 'file');
  writeFileSync(path, Buffer.concat([head, data]));
  return path;
}

function withJson(json: string, data = 0): string {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(json)));
  return write(Buffer.concat([length, Buffer.from(json)]), Buffer.alloc(data));
}

const fails = (path: string, code: string, words: string | RegExp): Promise<void> =>
  expect(openCheckpoint(path)).rejects.toMatchObject({ code, message: expect.stringMatching(words) as string });

describe('safetensors', () => {
  it('reads back what it writes, strange names included', async () => {
    const names = ['a.weight', '10', '2', '__proto__', 'ünïcode "quoted"', 'empty', 'scalar'];
    const shapes = [[2, 3], [1], [2], [1], [3], [0, 4], []];
    const tensors = names.map((name, i) => ({ name, dtype: 'F32' as const, shape: shapes[i]! }));
    const head = safetensorsHeader(tensors, { format: 'pt', note: '"x"\n' });
    expect(head.length % 64).toBe(0);
    const data = Buffer.from(Float32Array.from({ length: 14 }, (_, i) => i).buffer);
    const checkpoint = await openCheckpoint(write(head, data));
    expect(checkpoint.format).toBe('safetensors');
    expect(checkpoint.metadata).toEqual({ format: 'pt', note: '"x"\n' });
    expect([...checkpoint.tensors.keys()].sort()).toEqual([...names].sort());
    const read = tensors.map(({ name }) => denseBytes(checkpoint.tensors.get(name)!));
    expect(Buffer.concat(read).equals(data)).toBe(true);
  });

  it('takes unaligned tensors', async () => {
    const tensors = [
      { name: 'a', dtype: 'U8' as const, shape: [3] },
      { name: 'b', dtype: 'F32' as const, shape: [1] },
    ];
    const data = Buffer.from([1, 2, 3, 0, 0, 0x80, 0x3f]);
    const { tensors: read } = await openCheckpoint(write(safetensorsHeader(tensors), data));
    expect(denseBytes(read.get('b')!).readFloatLE()).toBe(1);
  });

  it('refuses to write a name twice', () => {
    const tensor = { name: 'a', dtype: 'F32' as const, shape: [1] };
    expect(() => safetensorsHeader([tensor, tensor])).toThrowError(/each name once/);
    expect(() => safetensorsHeader([{ ...tensor, name: '__metadata__' }])).toThrowError(/each name once/);
  });

  const f32 = (begin: number, end: number, shape = `[${(end - begin) / 4}]`): string =>
    `{"dtype":"F32","shape":${shape},"data_offsets":[${begin},${end}]}`;

  it.each([
    ['a gap', `{"a":${f32(0, 4)},"b":${f32(8, 12)}}`, 12, 'data from byte 4 on'],
    ['a gap at the start', `{"a":${f32(4, 8)}}`, 8, 'data from byte 0 on'],
    ['an overlap', `{"a":${f32(0, 8)},"b":${f32(4, 12)}}`, 12, 'data from byte 8 on'],
    ['bytes beyond the tensors', `{"a":${f32(0, 4)}}`, 5, 'size of'],
    ['a name twice', `{"a":${f32(0, 4)},"a":${f32(0, 4)}}`, 4, '"a" twice'],
    ['a name twice, once escaped', `{"a":${f32(0, 4)},"\\u0061":${f32(0, 4)}}`, 4, '"a" twice'],
    ['an unknown dtype', '{"a":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}', 1, 'dtype F64, F32'],
    ['a dtype of Object', '{"a":{"dtype":"toString","shape":[1],"data_offsets":[0,1]}}', 1, 'dtype F64, F32'],
    ['bytes that do not fit the shape', `{"a":${f32(0, 8, '[3]')}}`, 8, '12 bytes for shape'],
    ['a shape that overflows', `{"a":${f32(0, 4, '[4294967296,4294967296,4294967296]')}}`, 4, 'bytes for shape'],
    ['a negative size', `{"a":${f32(0, 4, '[-1]')}}`, 4, 'a shape of at most 16 sizes'],
    ['a fraction', `{"a":${f32(0, 4, '[0.5]')}}`, 4, 'a shape of at most 16 sizes'],
    ['too many dimensions', `{"a":${f32(0, 4, `[${Array(17).fill(1)}]`)}}`, 4, 'at most 16'],
    ['three offsets', '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}', 1, 'begin, end'],
    ['metadata that is no text', '{"__metadata__":{"a":1}}', 0, 'strings by name'],
    ['an entry that is no object', '{"a":3}', 0, 'dtype, shape'],
    ['broken JSON', '{"a":', 0, 'JSON'],
  ])('refuses %s', (_, json, bytes, words) => fails(withJson(json, bytes), 'ERR_SAFETENSORS', words));

  it('tells a truncated file and an oversized header', async () => {
    await fails(withJson(`{"a":${f32(0, 8)}}`, 4), 'ERR_FILE_TRUNCATED', 'tensors');
    const head = Buffer.from('\0\0\0\0\0\0\0\0{}');
    head.writeBigUInt64LE(1000n);
    await fails(write(head), 'ERR_FILE_TRUNCATED', 'header');
    head.writeBigUInt64LE(2n ** 63n);
    await fails(write(head), 'ERR_SAFETENSORS', 'at most 100000000 bytes');
  });
});
