/** HDF5 apart from the networks in it: the thread that reads it, and the package that it needs. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { openCheckpoint } from '../../src/formats/checkpoint.js';
import { temporaryFolder } from '../python.js';
import { denseBytes } from './dense.js';
import { hdf5 } from './hdf5-writer.js';

const folder = temporaryFolder();
afterAll(folder.remove);
const dist = path.resolve(import.meta.dirname, '../../dist');

function node(script: string, ...args: string[]): unknown {
  const run = spawnSync(process.execPath, ['--input-type=module', '-e', script, ...args], { encoding: 'utf8' });
  expect([run.status, run.stderr]).toEqual([0, '']);
  return JSON.parse(run.stdout);
}

const url = (...parts: string[]): string => JSON.stringify(pathToFileURL(path.join(...parts)).href);

async function written(name: string, ...arrays: Parameters<typeof hdf5>): Promise<string> {
  const file = path.join(folder.path, name);
  writeFileSync(file, await hdf5(...arrays));
  return file;
}

describe('HDF5', () => {
  it('is read by several at once, and again after the thread has ended', async () => {
    const files = await Promise.all(
      [1, 2, 3].map((value) => written(`${value}.h5`, { 'a/b': { shape: [2, 1], values: [value, -value] } })),
    );
    const values = async (file: string): Promise<number[]> => {
      const { tensors } = await openCheckpoint(file);
      const { buffer, byteOffset } = denseBytes(tensors.get('a/b')!);
      return [...new Float32Array(buffer, byteOffset, 2)];
    };
    const wanted = [[1, -1], [2, -2], [3, -3]]; // prettier-ignore
    expect(await Promise.all(files.map(values))).toEqual(wanted);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(await Promise.all(files.map(values))).toEqual(wanted);
  });

  it('that breaks its thread is an error, and other files have a new one', async () => {
    const file = await written('one.h5', { a: { shape: [1], values: [1] } });
    const { postMessage } = Worker.prototype;
    let calls = 0;
    const spy = vi.spyOn(Worker.prototype, 'postMessage').mockImplementation(function (this: Worker, ...message) {
      if (++calls === 4) void this.terminate();
      else postMessage.apply(this, message);
    });
    const outcome = (): Promise<unknown> =>
      openCheckpoint(file).then(
        ({ tensors }) => [...tensors.keys()],
        (error: { code: string }) => error.code,
      );
    const outcomes = await Promise.all([outcome(), outcome()]);
    spy.mockRestore();
    // Which of the two came first is chance.
    expect(outcomes.sort((a) => (a === 'ERR_HDF5' ? -1 : 1))).toEqual(['ERR_HDF5', ['a']]);
  });

  it('that keeps the library busy without end is an error, and others are read', async () => {
    const sound = await written('sound.h5', { a: { shape: [1], values: [1] } });
    const endless = await written(
      'endless.h5',
      { a: { shape: [1], values: [1] } },
      { '': { layer_names: ['norm', 'top'] } },
    );
    const bytes = readFileSync(endless);
    // Where the library keeps long texts: length in 8 bytes, then the text. It goes round a list with this one.
    bytes[bytes.indexOf('norm\0') - 8] = 255;
    writeFileSync(endless, bytes);
    const [wrong, right] = await Promise.allSettled([openCheckpoint(endless), openCheckpoint(sound)]);
    expect(wrong).toMatchObject({ status: 'rejected', reason: { code: 'ERR_HDF5' } });
    expect(right).toMatchObject({ status: 'fulfilled' });
  });

  it('may claim twice its bytes, and more where chunks are stored that deflate can make it of', async () => {
    const zeros = { shape: [1 << 20], values: new Float32Array(1 << 20), chunks: [1 << 14] };
    const file = await written('zeros.h5', { a: zeros, b: { shape: [2], values: [1, 2] } });
    expect(statSync(file).size * 100).toBeLessThan(1 << 22);
    const { tensors } = await openCheckpoint(file);
    expect(denseBytes(tensors.get('a')!).equals(Buffer.alloc(1 << 22))).toBe(true);
    expect(denseBytes(tensors.get('b')!)).toEqual(Buffer.from(Float32Array.of(1, 2).buffer));
  });

  it('whose chunks are not stored may not claim more', async () => {
    const few = { shape: [1], values: [1], chunks: [256], grown: [512] };
    const { tensors } = await openCheckpoint(await written('few.h5', { few }));
    expect(denseBytes(tensors.get('few')!)).toEqual(
      Buffer.from(Float32Array.of(1, ...Array<number>(511).fill(0)).buffer),
    );
    const grown = (chunks: number) => ({ shape: [1], values: [1], chunks: [1024], grown: [chunks * 1024] });
    const wanted = { code: 'ERR_HDF5', message: expect.stringContaining('which is not stored') as string };
    await expect(openCheckpoint(await written('grown.h5', { a: grown(100) }))).rejects.toMatchObject(wanted);
    const many = { a: grown(5), b: grown(5), c: grown(5), d: grown(5) };
    await expect(openCheckpoint(await written('many.h5', many))).rejects.toMatchObject(wanted);
  });

  it('may not claim the same bytes many times', async () => {
    const links = Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`b${i}`, 'a']));
    const plain = { a: { shape: [1 << 14], values: new Float32Array(1 << 14) } };
    const zeros = { a: { shape: [1 << 20], values: new Float32Array(1 << 20), chunks: [1 << 20] } };
    for (const arrays of [plain, zeros])
      await expect(openCheckpoint(await written('links.h5', arrays, {}, links))).rejects.toMatchObject({
        code: 'ERR_HDF5',
      });
  });

  it('does not hold up the event loop, and its thread not the end of the process', async () => {
    const [rows, columns] = [1024, 1536];
    const values = Float32Array.from({ length: rows * columns }, (_, i) => (i * 7) % 1000);
    const config = {
      class_name: 'Sequential',
      config: {
        layers: [{ class_name: 'Dense', config: { name: 'top', units: columns, batch_input_shape: [null, rows] } }],
      },
    };
    const file = await written(
      'large.h5',
      { 'model_weights/top/kernel:0': { shape: [rows, columns], values, chunks: [16, 64] } },
      {
        '': { model_config: JSON.stringify(config) },
        model_weights: { layer_names: ['top'] },
        'model_weights/top': { weight_names: ['kernel:0'] },
      },
    );
    const script = `
      import { monitorEventLoopDelay } from 'node:perf_hooks';
      import { openCheckpoint } from ${url(dist, 'formats/checkpoint.js')};
      await openCheckpoint(${JSON.stringify(file)});
      const delay = monitorEventLoopDelay({ resolution: 1 });
      await new Promise((resolve) => setTimeout(resolve, 20));
      delay.enable();
      const start = performance.now();
      const { tensors, network } = await openCheckpoint(${JSON.stringify(file)});
      network();
      const ms = performance.now() - start;
      await new Promise((resolve) => setTimeout(resolve, 20));
      console.log(JSON.stringify({ ms, longest: delay.max / 1e6, tensors: [...tensors.keys()] }));`;
    const { ms, longest, tensors } = node(script) as { ms: number; longest: number; tensors: string[] };
    console.log(`${ms.toFixed(0)} ms to open, the event loop ${longest.toFixed(1)} ms late at most`);
    expect(tensors).toEqual(['top.weight']);
    expect(longest).toBeLessThan(ms / 4);
  });

  it('says which package is missing, each time', async () => {
    const file = await written('small.h5', { a: { shape: [1], values: [1] } });
    const alone = path.join(folder.path, 'alone');
    mkdirSync(alone);
    cpSync(dist, path.join(alone, 'dist'), { recursive: true });
    writeFileSync(path.join(alone, 'package.json'), '{"type":"module"}');
    const script = `
      import { openCheckpoint } from ${url(alone, 'dist/formats/checkpoint.js')};
      const error = () => openCheckpoint(${JSON.stringify(file)}).catch(({ code, message }) => [code, message]);
      console.log(JSON.stringify([await error(), await error()]));`;
    const message = expect.stringMatching(/^expected the package h5wasm .* npm install h5wasm$/) as string;
    expect(node(script)).toEqual(Array(2).fill(['ERR_HDF5_MISSING', message]));
  });
});
