import { describe, expect, it } from 'vitest';
import { readPickle, type PickleWorld } from '../../src/formats/pickle.js';

const world: PickleWorld = {
  global: (module, name) => ({ call: (args: unknown[]) => [module, name, ...args] }),
  persistent: (id) => ({ id }),
};
const read = (...bytes: (number | string)[]): unknown => {
  const parts = bytes.map((b) => (typeof b === 'number' ? Buffer.from([b]) : Buffer.from(b, 'latin1')));
  return readPickle(Buffer.concat([Buffer.from([0x80, 2]), ...parts, Buffer.from('.')]), 0, world).value;
};

describe('readPickle', () => {
  it('reads numbers of every width', () => {
    expect(read('K', 200)).toBe(200);
    expect(read('M', 0x34, 0x12)).toBe(0x1234);
    expect(read('J', 0xff, 0xff, 0xff, 0xff)).toBe(-1);
    expect(read(0x8a, 1, 0x80)).toBe(-128);
    expect(read(0x8a, 0)).toBe(0);
    expect(read(0x8a, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1)).toBe(2n ** 64n);
    expect(read('G', 0x3f, 0xf8, 0, 0, 0, 0, 0, 0)).toBe(1.5);
  });

  it('reads containers, the memo and calls', () => {
    expect(read('(K', 1, 'K', 2, 'tq', 0, 'h', 0, 0x86)).toEqual([
      [1, 2],
      [1, 2],
    ]);
    expect(read('}q', 0, 'X', 1, 0, 0, 0, 'aNs')).toEqual(new Map([['a', null]]));
    expect(read('](', 0x88, 0x89, 'e')).toEqual([true, false]);
    expect(read('ctorch\nSize\nK', 3, 0x85, 'R')).toEqual(['torch', 'Size', 3]);
    expect(read('K', 3, 'Q')).toEqual({ id: 3 });
  });

  it.each([
    ['an opcode it does not know', 'i'],
    ['an empty stack', '0'],
    ['a mark that is not there', 't'],
    ['a memo entry that is not there', 'h\x05'],
    ['a call of what is no function', 'NNR'],
    ['items for what is no dict', 'NNNs'],
    ['popping below a mark', 'N(\x85'],
    ['a protocol of the far future', '\x80\x09'],
  ])('refuses %s', (_, bytes) => {
    expect(() => read(bytes)).toThrowError(expect.objectContaining({ code: 'ERR_TORCH_FILE' }) as Error);
  });

  it('bounds the values that one pickle may make', () => {
    const bytes = Buffer.concat([Buffer.from([0x80, 2]), Buffer.alloc(2_500_000, '}'), Buffer.from('.')]);
    expect(() => readPickle(bytes, 0, world)).toThrowError(/at most 2000000 values/);
  });
});
