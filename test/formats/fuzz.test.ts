/** Damaged files: an error with a code, or a checkpoint; never anything else. THAW_FUZZ says how many of each kind. */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ThawError } from '../../src/errors.js';
import { openCheckpoint } from '../../src/formats/checkpoint.js';
import { temporaryFolder } from '../python.js';
import { sharedPath } from '../shared.js';
import { zip } from './zip-writer.js';

const folder = temporaryFolder();
afterAll(folder.remove);
const ROUNDS = Number(process.env['THAW_FUZZ'] ?? 200);

/** Numbers 0 … 1 that are the same for the same seed (Lehmer's generator). */
function random(seed: number): () => number {
  let state = seed * 2 + 1;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
}

/** A few bytes changed, a piece cut out or put in, or the end cut off. */
function mutated(bytes: Buffer, next: () => number): Buffer {
  const at = Math.floor(next() * bytes.length);
  const kind = Math.floor(next() * 5);
  if (kind === 0) return bytes.subarray(0, at);
  const length = Math.floor(next() * 40);
  if (kind === 1) return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
  if (kind === 2) return Buffer.concat([bytes.subarray(0, at), bytes.subarray(0, length), bytes.subarray(at)]);
  const copy = Buffer.from(bytes);
  for (let i = 0; i < 1 + 4 * next(); i++) copy[Math.floor(next() * copy.length)] = Math.floor(next() * 256);
  return copy;
}

async function opened(file: string): Promise<void> {
  try {
    await openCheckpoint(file);
  } catch (error) {
    if (!(error instanceof ThawError) || !/^ERR_/.test(error.code)) throw error;
  }
}

const NPY = Buffer.concat([
  Buffer.from('\x93NUMPY\x01\x00\x46\x00', 'latin1'),
  Buffer.from("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }".padEnd(69) + '\n'),
  Buffer.alloc(24),
]);
const ARRAYS = [
  { name: 'a.npy', bytes: NPY },
  { name: 'b.npy', bytes: NPY, deflate: true },
];
const CFG =
  '[net]\nwidth=4\nheight=4\n[convolutional]\nfilters=2\nsize=3\npad=1\n[maxpool]\nsize=2\n[route]\nlayers=-1,0\n';

describe('damaged files', () => {
  const tfjs = sharedPath('weights', 'mobilenet_v1_0.25_224-tfjs', 'model.with-topology.json');
  const h5 = sharedPath('weights', 'resnet8-cifar10-keras', 'pretrainedResnet.h5');
  const kinds: [string, Buffer | undefined][] = [
    ['a.npz', zip(ARRAYS)],
    ['a.cfg', Buffer.from(CFG)],
    ['model.json', tfjs === undefined ? undefined : readFileSync(tfjs)],
    ['a.h5', h5 === undefined ? undefined : readFileSync(h5)],
  ];
  it.each(kinds.filter(([, bytes]) => bytes))('%s', async (name, bytes) => {
    const next = random(7);
    const file = path.join(folder.path, name);
    writeFileSync(path.join(folder.path, 'a.weights'), Buffer.alloc(20 + 4 * 56));
    for (let i = 0; i < ROUNDS; i++) {
      writeFileSync(file, mutated(bytes!, next));
      await opened(file);
    }
    expect(ROUNDS).toBeGreaterThan(0);
  });
});
