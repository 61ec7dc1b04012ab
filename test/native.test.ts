import { existsSync, readFileSync, readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { NativeSession, StorageDType } from '../src/native.js';
import { folder, open, put, get, f32, initialise } from './native-helpers.js';

describe('tensors', () => {
  it('come back in their own bytes and as f32', async () => {
    const session = open();
    const cases: [StorageDType, ArrayBufferView, number[]][] = [
      ['F64', Float64Array.of(1.5, -2, 1e-3), [1.5, -2, Math.fround(1e-3)]],
      ['F32', Float32Array.of(1.5, -2, 3), [1.5, -2, 3]],
      ['F16', Uint16Array.of(0x3c00, 0xc000, 0x7bff), [1, -2, 65504]],
      ['BF16', Uint16Array.of(0x3f80, 0xc000, 0x4049), [1, -2, 3.140625]],
      ['I64', BigInt64Array.of(1n, -2n, 3n), [1, -2, 3]],
      ['I32', Int32Array.of(1, -2, 3), [1, -2, 3]],
      ['I16', Int16Array.of(1, -2, 3), [1, -2, 3]],
      ['I8', Int8Array.of(1, -2, 3), [1, -2, 3]],
      ['U8', Uint8Array.of(1, 200, 3), [1, 200, 3]],
      ['BOOL', Uint8Array.of(1, 0, 1), [1, 0, 1]],
    ];
    for (const [dtype, data, numbers] of cases) {
      await put(session, dtype, dtype, [3], data);
      const back = await get(session, dtype);
      expect(back).toMatchObject({ name: dtype, dtype, shape: [3] });
      expect(new Uint8Array(back.buffer)).toEqual(new Uint8Array(data.buffer));
      expect(await f32(session, dtype)).toEqual(numbers);
    }
  });

  it('convert every f16, subnormal, infinite and NaN ones too', async () => {
    const session = open();
    await put(
      session,
      'all',
      'F16',
      [65536],
      Uint16Array.from({ length: 65536 }, (_, i) => i),
    );
    const numbers = await f32(session, 'all');
    const expected = (bits: number) => {
      const sign = bits & 0x8000 ? -1 : 1;
      const exponent = (bits >> 10) & 31;
      const mantissa = bits & 0x3ff;
      if (exponent === 31) return mantissa ? NaN : sign * Infinity;
      return sign * (exponent ? (1 + mantissa / 1024) * 2 ** (exponent - 15) : mantissa * 2 ** -24);
    };
    expect(numbers.findIndex((number, i) => !Object.is(number, expected(i)))).toBe(-1);
  });

  it('take data at any address, of no elements, and scalars', async () => {
    const session = open();
    const bytes = new Uint8Array(13);
    new DataView(bytes.buffer).setFloat32(1, 7, true);
    await put(session, 'odd', 'F32', [1], bytes.subarray(1, 5));
    await put(session, 'view', 'F32', [], new DataView(bytes.buffer, 1, 4));
    await put(session, 'none', 'F32', [0, 3], new Float32Array(0));
    expect(await f32(session, 'odd')).toEqual([7]);
    expect(await get(session, 'view')).toMatchObject({ shape: [] });
    expect(await f32(session, 'none')).toEqual([]);
  });

  it('take shared and resizable memory', async () => {
    const session = open();
    const shared = new Float32Array(new SharedArrayBuffer(8));
    shared.set([1, 2]);
    await put(session, 'shared', 'F32', [2], shared);
    expect(await f32(session, 'shared')).toEqual([1, 2]);
    const buffer = new (ArrayBuffer as unknown as new (size: number, o: object) => ArrayBuffer)(8, {
      maxByteLength: 16,
    });
    const resizable = new Float32Array(buffer);
    resizable.set([3, 4]);
    const done = put(session, 'resizable', 'F32', [2], resizable);
    (buffer as unknown as { resize(size: number): void }).resize(0);
    await done;
    expect(await f32(session, 'resizable')).toEqual([3, 4]);
  });

  it('are listed, copied, renamed and dropped', async () => {
    const session = open();
    await put(session, 'a', 'F16', [2], Uint16Array.of(0x3c00, 0x4000));
    await session.submit('copy', { from: ['a', 'a'], to: ['b', 'c'] });
    await session.submit('rename', { from: 'c', to: 'd' });
    await initialise(session, 'new', [2], { kind: 'ones' });
    expect((await session.submit('drop', { names: ['a', 'absent'] })).reply).toMatchObject({ dropped: 1 });
    expect((await session.submit('list', {})).reply.tensors).toEqual([
      { name: 'b', dtype: 'F16', shape: [2], modified: false },
      { name: 'd', dtype: 'F16', shape: [2], modified: false },
      { name: 'new', dtype: 'F32', shape: [2], modified: true },
    ]);
    expect(await f32(session, 'd')).toEqual([1, 2]);
  });

  it('count as native memory', async () => {
    const session = open();
    await put(session, 'a', 'F32', [1000], new Float32Array(1000));
    expect(session.bytes).toBe(4000);
    await session.submit('drop', { names: ['a'] });
    expect(session.bytes).toBe(0);
    session.dispose();
    session.dispose();
    expect(session.bytes).toBe(0);
  });
});

describe('initialisers', () => {
  const statistics = (x: number[]) => {
    const mean = x.reduce((sum, v) => sum + v, 0) / x.length;
    return {
      mean,
      std: Math.sqrt(x.reduce((sum, v) => sum + (v - mean) ** 2, 0) / x.length),
      most: x.reduce((m, v) => Math.max(m, Math.abs(v)), 0),
    };
  };

  it.each([
    [{ kind: 'uniform', bound: 0.5 }, 0.5 / Math.sqrt(3), 0.5],
    [{ kind: 'normal', std: 2 }, 2, 20],
    [{ kind: 'truncatedNormal', std: 0.02 }, 0.02, 0.2],
    [{ kind: 'truncatedNormal', std: 1.5 }, 1.0229, 2],
    [{ kind: 'kaimingNormal', fan: 'in', gain: Math.SQRT2 }, Math.SQRT2 / Math.sqrt(40 * 9), 1],
    [{ kind: 'kaimingNormal', fan: 'out', gain: 1 }, 1 / Math.sqrt(100 * 9), 1],
    [{ kind: 'kaimingUniform', fan: 'in', gain: 1 }, 1 / Math.sqrt(40 * 9), Math.sqrt(3 / 360) + 1e-8],
  ])('%o', async (init, std, most) => {
    const session = open();
    await initialise(session, 'w', [100, 40, 3, 3], init);
    const seen = statistics(await f32(session, 'w'));
    expect(Math.abs(seen.mean)).toBeLessThan(std * 0.02);
    expect(seen.std / std).toBeCloseTo(1, 1.7);
    expect(seen.most).toBeLessThanOrEqual(most);
  });

  it('depend on seed and name alone, not on threads', async () => {
    const draw = async (threads: number, name: string, seed: number) => {
      const session = open({ threads });
      await initialise(session, name, [50001], { kind: 'normal', std: 1 }, seed);
      return f32(session, name);
    };
    const first = await draw(1, 'a', 1);
    expect(await draw(5, 'a', 1)).toEqual(first);
    expect(await draw(1, 'b', 1)).not.toEqual(first);
    expect(await draw(1, 'a', 2)).not.toEqual(first);
  });

  it('refuse what they cannot do', async () => {
    const session = open();
    await expect(initialise(session, 'w', [3], { kind: 'kaimingNormal', fan: 'in', gain: 1 })).rejects.toMatchObject({
      code: 'ERR_SHAPE',
    });
    await expect(initialise(session, 'w', [3], { kind: 'magic' })).rejects.toMatchObject({ code: 'ERR_INITIALISER' });
    await expect(initialise(session, 'w', [3], { kind: 'normal', std: -1 })).rejects.toMatchObject({
      code: 'ERR_INITIALISER',
    });
    await expect(initialise(session, 'w', [-3], { kind: 'ones' })).rejects.toMatchObject({ code: 'ERR_SHAPE' });
    await expect(initialise(session, 'w', [2 ** 40, 2 ** 40], { kind: 'ones' })).rejects.toMatchObject({
      code: 'ERR_SHAPE',
    });
    await expect(initialise(session, 'w', [2 ** 48], { kind: 'ones' })).rejects.toMatchObject({ code: 'ERR_MEMORY' });
  });
});

describe('files', () => {
  const path = join(folder, 'numbers');
  const numbers = Float32Array.from({ length: 24 }, (_, i) => i);
  const read = (session: NativeSession, tensor: object, file = path) =>
    session.submit('read', { path: file, tensors: [{ name: 'x', dtype: 'F32', offset: 0, ...tensor }] } as object);

  it('give ranges and strided tensors', async () => {
    writeFileSync(path, new Uint8Array(numbers.buffer));
    const session = open();
    await read(session, { shape: [2, 3], offset: 4 });
    expect(await f32(session, 'x')).toEqual([1, 2, 3, 4, 5, 6]);
    await read(session, { shape: [3, 2], strides: [1, 12], offset: 4 });
    expect(await f32(session, 'x')).toEqual([1, 13, 2, 14, 3, 15]);
    await read(session, { shape: [2, 2, 2], strides: [0, 2, 1] });
    expect(await f32(session, 'x')).toEqual([0, 1, 2, 3, 0, 1, 2, 3]);
    await read(session, { shape: [4], strides: [7], offset: 8 });
    expect(await f32(session, 'x')).toEqual([2, 9, 16, 23]);
  });

  it('are checked before memory is taken, and nothing changes on failure', async () => {
    writeFileSync(path, new Uint8Array(numbers.buffer));
    const session = open();
    await read(session, { shape: [1] });
    const refused = (tensor: object, code: string) =>
      expect(read(session, tensor)).rejects.toMatchObject({ name: 'ThawError', code });
    await refused({ shape: [25] }, 'ERR_FILE_TRUNCATED');
    await refused({ shape: [24], offset: 1 }, 'ERR_FILE_TRUNCATED');
    await refused({ shape: [1], offset: 97 }, 'ERR_FILE_TRUNCATED');
    await refused({ shape: [1], offset: -4 }, 'ERR_FILE_TRUNCATED');
    await refused({ shape: [1], offset: 2 ** 53 }, 'ERR_FILE_TRUNCATED');
    await refused({ shape: [2 ** 45] }, 'ERR_FILE_TRUNCATED');
    await refused({ shape: [2 ** 32, 2 ** 32] }, 'ERR_SHAPE');
    await refused({ shape: [-1] }, 'ERR_SHAPE');
    await refused({ shape: [4], strides: [8], offset: 0 }, 'ERR_FILE_TRUNCATED');
    await refused({ shape: [2 ** 40], strides: [0] }, 'ERR_FILE_TRUNCATED');
    await refused({ shape: [3, 3], strides: [2 ** 52, 2 ** 52] }, 'ERR_FILE_TRUNCATED');
    await refused({ shape: [2], strides: [-1] }, 'ERR_SHAPE');
    await refused({ shape: [2], strides: [1, 1] }, 'ERR_SHAPE');
    await refused({ shape: [1], dtype: 'F8' }, 'ERR_DTYPE');
    await refused({ shape: [1.5] }, 'ERR_JSON');
    expect(await f32(session, 'x')).toEqual([0]);
    truncateSync(path, 40);
    await refused({ shape: [24] }, 'ERR_FILE_TRUNCATED');
    await expect(read(session, { shape: [1] }, join(folder, 'absent'))).rejects.toMatchObject({
      code: 'ERR_FILE_NOT_FOUND',
    });
    await expect(read(session, { shape: [1] }, folder)).rejects.toMatchObject({ code: 'ERR_FILE' });
  });

  it('are written whole or not at all', async () => {
    const session = open();
    const target = join(folder, 'written');
    await put(session, 'half', 'F16', [3], Uint16Array.of(1, 2, 3));
    await put(session, 'byte', 'U8', [1], Uint8Array.of(9));
    const write = (request: object, file = target) =>
      session.submit('write', { path: file, tensors: ['half', 'byte'], ...request }, [Buffer.from('head')]);
    await write({
      expected: [
        { dtype: 'F16', shape: [3] },
        { dtype: 'U8', shape: [1] },
      ],
    });
    const bytes = readFileSync(target);
    expect([...bytes]).toEqual([...Buffer.from('head'), 1, 0, 2, 0, 3, 0, 9]);
    await expect(write({ tensors: ['absent'] })).rejects.toMatchObject({ code: 'ERR_TENSOR_MISSING' });
    await expect(
      write({
        expected: [
          { dtype: 'F32', shape: [3] },
          { dtype: 'U8', shape: [1] },
        ],
      }),
    ).rejects.toMatchObject({ code: 'ERR_TENSOR_CHANGED' });
    expect(readFileSync(target)).toEqual(bytes);
    await expect(write({}, join(folder, 'no', 'folder'))).rejects.toMatchObject({ code: 'ERR_FILE_WRITE' });
    await expect(write({}, folder)).rejects.toMatchObject({ code: 'ERR_FILE_WRITE' });
    expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
    expect(existsSync(`${folder}.tmp`)).toBe(false);
  });
});
