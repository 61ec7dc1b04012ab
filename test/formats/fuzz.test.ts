/**
 * Damaged files: an error with a code, or a checkpoint; never anything else, never long, never with memory that the file
 * does not account for. THAW_FUZZ says how many of each format (default 200); a failure names its seed and is kept.
 */
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ThawError } from '../../src/errors.js';
import { openCheckpoint } from '../../src/formats/checkpoint.js';
import { load } from '../../src/network/load.js';
import { hasTorch, python, temporaryFolder } from '../python.js';
import { corpus } from './fuzz-corpus.js';
import type { Sample } from './fuzz-corpus.js';
import { mutated, random } from './fuzz-mutate.js';
import { hdf5 } from './hdf5-writer.js';
import { zip } from './zip-writer.js';

const ROUNDS = Number(process.env['THAW_FUZZ'] ?? 200);
/** Milliseconds of processor time for one file. */
const LONGEST = 5000;

const folder = temporaryFolder();
afterAll(folder.remove);

function write(name: string, bytes: Buffer): string {
  const file = path.join(folder.path, name);
  writeFileSync(file, bytes);
  return file;
}

/** Opens a file, and makes a network of it where its graph is sound. Throws what is no ThawError. */
async function open(file: string): Promise<string> {
  try {
    const { network } = await openCheckpoint(file);
    if (!network) return 'tensors';
    network();
    (await load(file)).dispose();
    return 'network';
  } catch (error) {
    if (!(error instanceof ThawError) || !/^ERR_[A-Z0-9_]+$/.test(error.code)) throw error;
    return error.code;
  }
}

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

/** Largest buffer that was asked for since the last file. */
let largest = 0;
const real = { alloc: Buffer.alloc, allocUnsafe: Buffer.allocUnsafe, allocUnsafeSlow: Buffer.allocUnsafeSlow };
// Not vi.spyOn, which keeps what each call returned.
beforeAll(() => {
  for (const [name, make] of Object.entries(real))
    Object.assign(Buffer, {
      [name]: (size: number, ...rest: []) => {
        largest = Math.max(largest, size);
        return make.call(Buffer, size, ...rest);
      },
    });
});
afterAll(() => void Object.assign(Buffer, real));

async function damage(samples: Sample[], format: string): Promise<Map<string, number>> {
  const outcomes = new Map<string, number>();
  for (const { beside } of samples) for (const [name, bytes] of Object.entries(beside ?? {})) write(name, bytes);
  for (let seed = 0; seed < ROUNDS; seed++) {
    const next = random(seed);
    const sample = samples[next(samples.length)]!;
    const bytes = mutated(sample, next);
    const file = write(sample.name, bytes);
    const start = process.cpuUsage();
    largest = 0;
    // Garbage of earlier files is not this one's memory.
    if (seed % 500 === 0) gc();
    const problem = (why: string): Error => {
      const kept = path.join(tmpdir(), 'thaw-fuzz');
      mkdirSync(kept, { recursive: true });
      copyFileSync(file, path.join(kept, `${format}-${seed}-${sample.name}`));
      return new Error(`${format}, seed ${seed}, kept in ${kept}: ${why}`);
    };
    const outcome = await open(file).catch((error: Error) => {
      throw problem(error.stack ?? String(error));
    });
    const { user, system } = process.cpuUsage(start);
    if (user + system > LONGEST * 1000) throw problem(`${(user + system) / 1000} ms`);
    if (largest > 2 * bytes.length + (1 << 20)) throw problem(`a buffer of ${largest} bytes`);
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  }
  return outcomes;
}

const FORMATS = ['safetensors', 'npz', 'darknet', 'tfjs', 'keras', 'onnx', 'torch'];

describe('damaged files', { timeout: 36_000_000 }, () => {
  let samples: Record<string, Sample[]>;
  beforeAll(async () => {
    const fixtures = hasTorch() ? path.join(folder.path, 'torch') : undefined;
    if (fixtures !== undefined) {
      mkdirSync(fixtures);
      python(fileURLToPath(new URL('fixtures.py', import.meta.url)), fixtures);
    }
    samples = await corpus(fixtures);
  }, 600_000);

  it.each(FORMATS)('of %s', async (format) => {
    if (!samples[format]) return; // hasTorch has said so
    for (const { name, bytes, beside } of samples[format]) {
      for (const [other, content] of Object.entries(beside ?? {})) write(other, content);
      const outcome = await open(write(name, bytes));
      if (!/^(evil|nested\.onnx)/.test(name)) expect(outcome, name).toMatch(/^(tensors|network|ERR_ARCHITECTURE.*)$/);
    }
    const before = process.resourceUsage().maxRSS;
    const outcomes = await damage(samples[format], format);
    const more = (process.resourceUsage().maxRSS - before) >> 10;
    const counts = [...outcomes].sort(([, a], [, b]) => b - a).map(([code, n]) => `${code} ${n}`);
    console.log(`${format}, ${ROUNDS} files, ${more} MB more at the peak: ${counts.join(', ')}`);
    expect(more).toBeLessThan(400);
  });

  it('that unpack to far more than they are', async () => {
    const before = process.resourceUsage().maxRSS;
    const zeros = Buffer.alloc(1 << 24);
    const bomb = zip([{ name: 'a.npy', bytes: zeros, deflate: true, size: 1 << 20 }]);
    expect(await open(write('bomb.npz', bomb))).toBe('ERR_NPZ');
    const lying = zip([{ name: 'a.npy', bytes: zeros, deflate: true, size: 2 ** 32 - 1 }]);
    expect(await open(write('lying.npz', lying))).toBe('ERR_NPZ');
    const member = { name: 'model.weights.h5', bytes: zeros, deflate: true, size: 2 ** 32 - 1 };
    const config = { name: 'config.json', bytes: Buffer.from('{"class_name":"Sequential","config":{"layers":[]}}') };
    const metadata = { name: 'metadata.json', bytes: Buffer.from('{}') };
    expect(await open(write('lying.keras', zip([config, metadata, member])))).toMatch(/^ERR_(KERAS|HDF5)$/);
    const huge = await hdf5({ a: { shape: [1], values: [1], chunks: [1024], grown: [2 ** 33] } });
    expect(huge.length).toBeLessThan(1 << 20);
    expect(await open(write('huge.h5', huge))).toBe('ERR_HDF5');
    expect((process.resourceUsage().maxRSS - before) >> 10).toBeLessThan(100);
  });
});
