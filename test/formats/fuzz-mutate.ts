/** Damage to files, the same for the same seed. */
import type { Sample } from './fuzz-corpus.js';
import { zip } from './zip-writer.js';
import type { ZipEntry } from './zip-writer.js';

/** A number 0 … n-1. */
export type Random = (n: number) => number;

/** Numbers in which neighbouring seeds have nothing in common, from the first on: a count, its bits well mixed. */
export function random(seed: number): Random {
  let state = Math.imul(seed + 1, 0x9e3779b1);
  return (n) => {
    state = (state + 0x6a09e667) | 0;
    let bits = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
    return Math.floor((((bits ^ (bits >>> 16)) >>> 0) / 2 ** 32) * n);
  };
}

type Mutation = (bytes: Buffer, next: Random) => Buffer;

const spliced = (bytes: Buffer, at: number, removed: number, put: Uint8Array): Buffer =>
  Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + removed)]);

const flipped: Mutation = (bytes, next) => {
  const copy = Buffer.from(bytes);
  for (let i = next(4); i >= 0; i--) copy[next(copy.length)]! ^= 1 << next(8);
  return copy;
};

const overwritten: Mutation = (bytes, next) => {
  const copy = Buffer.from(bytes);
  for (let i = next(4); i >= 0; i--) copy[next(copy.length)] = next(256);
  return copy;
};

const cut: Mutation = (bytes, next) => bytes.subarray(0, next(bytes.length));

const without: Mutation = (bytes, next) => spliced(bytes, next(bytes.length), next(40), new Uint8Array());

const grown: Mutation = (bytes, next) => {
  const [from, length] = [next(bytes.length), next(400)];
  return spliced(bytes, next(2) ? bytes.length : next(bytes.length), 0, bytes.subarray(from, from + length));
};

const EXTREMES = [
  0n,
  1n,
  0x7fn,
  0xffn,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  2n ** 53n,
  2n ** 63n - 1n,
  2n ** 64n - 1n,
];

/** A size that lies: a whole number of 1 to 8 bytes, at its end or before it. */
const lying: Mutation = (bytes, next) => {
  const word = Buffer.alloc(8);
  word.writeBigUInt64LE(EXTREMES[next(EXTREMES.length)]!);
  const size = 1 << next(4);
  return spliced(bytes, next(bytes.length), size, word.subarray(0, size));
};

const NUMBERS = [
  '-1',
  '0',
  '2147483648',
  '4294967296',
  '9007199254740993',
  '1e308',
  '1e-400',
  '18446744073709551616',
  '0.5',
];

/** A number of a text (JSON, .cfg, headers) made huge, or none. */
const numbered: Mutation = (bytes, next) => {
  const text = bytes.toString('latin1');
  const found = [...text.matchAll(/\d+/g)];
  if (found.length === 0) return overwritten(bytes, next);
  const { 0: digits, index } = found[next(found.length)]!;
  return spliced(bytes, index, digits.length, Buffer.from(NUMBERS[next(NUMBERS.length)]!));
};

const OPENINGS = [
  '[',
  '{"a":',
  '(',
  '(l',
  '}(',
  ']',
  '\x80\x02}',
  '\x0a\xff\xff\x03',
  'c__builtin__\neval\n',
  'cos\nsystem\n',
  'i',
  'R',
  '\x81',
  '\x93',
  '[net]\n',
  '[route]\nlayers=-1\n',
];

/** Nesting, and opcodes that would execute something. */
const deep: Mutation = (bytes, next) => {
  const piece = Buffer.from(OPENINGS[next(OPENINGS.length)]!, 'latin1');
  const times = next(4) === 0 ? 1 + next(20_000) : 1 + next(8);
  return spliced(bytes, next(bytes.length), next(6), Buffer.concat(Array<Buffer>(times).fill(piece)));
};

const MUTATIONS: Mutation[] = [flipped, overwritten, cut, without, grown, lying, lying, numbered, deep];

function once(bytes: Buffer, next: Random): Buffer {
  return bytes.length === 0 ? bytes : MUTATIONS[next(MUTATIONS.length)]!(bytes, next);
}

/** One to three kinds of damage; to the members of an archive, or to the file. */
export function mutated(sample: Sample, next: Random): Buffer {
  const inside = sample.members !== undefined && next(3) > 0;
  let bytes = inside ? zip(damagedMember(sample.members!, next)) : sample.bytes;
  const times = inside ? next(2) * next(2) : 1 + next(2) * next(3);
  for (let i = 0; i < times; i++) bytes = once(bytes, next);
  return bytes;
}

function damagedMember(members: ZipEntry[], next: Random): ZipEntry[] {
  const at = next(members.length);
  return members.map((member, i): ZipEntry => {
    if (i !== at) return member;
    if (next(8) === 0) return { ...member, size: Number(EXTREMES[next(7)]!) };
    return { ...member, bytes: once(Buffer.from(member.bytes), next), deflate: next(4) === 0 };
  });
}
