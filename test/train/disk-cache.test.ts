/** Features on disk: found again by later processes and by several at once, never trusted, never in the way. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, utimesSync } from 'node:fs';
import { chmodSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compiledPackage } from '../compiled.js';

const folder = mkdtempSync(path.join(tmpdir(), 'thaw-disk-cache-'));
beforeAll(() => {
  compiledPackage(folder);
  writeFileSync(path.join(folder, 'child.mjs'), CHILD);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Trains the upper part of a small network on PNG pictures; prints the digest of its weights and how it went. */
const CHILD = `
import { createHash } from 'node:crypto';
import sharp from 'sharp';
import { fromGraph, GraphBuilder } from './dist/index.js';
import { fromPictures } from './dist/data/dataset.js';
const { seed = 5, pictures = 24, until = 'body.1', first = 0, width = 12, resize = 12, precision = 'auto', ...options } = JSON.parse(process.argv[2]);
const g = new GraphBuilder();
let x = g.input('image', 'f32', ['N', 3, 'H', 'W']);
for (const i of [0, 1, 2]) {
  x = g.conv2d('body.' + i + '.conv', x, { in: i ? width : 3, out: width, kernel: 3, padding: 1, bias: false });
  x = g.relu('body.' + i + '.relu', g.batchNorm('body.' + i + '.bn', x, width));
}
const graph = g.build([g.linear('fc', g.flatten('flat', g.globalAveragePool('pool', x)), { in: width, out: 3 })]);
const preprocessing = { resize, crop: resize, interpolation: 'bilinear', mean: [0.5, 0.5, 0.5], std: [0.3, 0.3, 0.3], channels: 3 };
const net = await fromGraph(graph, { labels: ['a', 'b', 'c'], seed, precision, preprocessing, layers: ['body.0', 'body.1', 'body.2', 'fc'] });
net.freeze({ until });
const png = (i) => {
  let state = i + 1;
  const draw = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 24;
  const data = Uint8Array.from({ length: 16 * 14 * 3 }, (_, p) => (draw() + (p % 3 === i % 3 ? 90 : 0)) / 2);
  return sharp(data, { raw: { width: 16, height: 14, channels: 3 } }).png().toBuffer();
};
const entries = await Promise.all(Array.from({ length: pictures }, async (_, i) => ({ picture: await png(first + i), target: i % 3, name: 'p' + i })));
const train = fromPictures(entries, { labels: ['a', 'b', 'c'] });
const warnings = [];
console.log('begun');
const run = net.fit(train, { batch: 8, epochs: 3, seed: 11, validation: train, ...options });
for await (const event of run) {
  if (event.type === 'warning' || event.type === 'note') warnings.push(event.message);
  if (event.type === 'epoch') console.log('epoch');
}
const { times, epochs } = await run;
const hash = createHash('sha256');
for (const { name } of net.parameters()) hash.update(new Uint8Array((await net.tensor(name)).data.buffer));
const { decode, prepare } = times.reading;
console.log(JSON.stringify({ digest: hash.digest('hex'), losses: epochs.map((e) => e.validation.loss), computed: decode + prepare > 0, warnings }));
net.dispose();
`;

interface Outcome {
  digest: string;
  losses: number[];
  /** Was any picture decoded and prepared, as the frozen part needs it? */
  computed: boolean;
  warnings: string[];
}

interface Life {
  options?: object;
  /** Milliseconds after its first word when it is killed. */
  kill?: number;
  /** Called at the end of its first epoch. */
  onEpoch?: () => void;
  /** Blocks of 1024 bytes a file may have. */
  fileLimit?: number;
  env?: Record<string, string>;
}

/** One process; null where it was killed. */
function life({ options = {}, kill, onEpoch, fileLimit, env }: Life): Promise<Outcome | null> {
  const limit = fileLimit === undefined ? '' : `ulimit -f ${fileLimit}; `;
  const command = `${limit}exec "$0" child.mjs "$1"`;
  const cwd = { cwd: folder, env: { ...process.env, ...env } };
  const child = spawn('bash', ['-c', command, process.execPath, JSON.stringify(options)], cwd);
  let [out, error] = ['', ''];
  child.stdout.on('data', (data) => {
    if (out === '' && kill !== undefined) setTimeout(() => child.kill('SIGKILL'), kill);
    const before = out;
    out += data;
    if (out.includes('epoch') && !before.includes('epoch')) onEpoch?.();
  });
  child.stderr.on('data', (data) => (error += data));
  return new Promise((resolve, reject) =>
    child.on('close', (code, signal) => {
      if (signal === 'SIGKILL') resolve(null);
      else if (code === 0) resolve(JSON.parse(out.trim().split('\n').at(-1)!) as Outcome);
      else reject(new Error(`exit ${code} ${signal}: ${error}`));
    }),
  );
}

let count = 0;
const newFolder = (): string => path.join(folder, `cache-${count++}`);
const files = (cache: string): string[] =>
  existsSync(cache) ? readdirSync(cache).map((name) => path.join(cache, name)) : [];
const on = (cacheFolder: string, more: object = {}): object => ({ cache: 'disk', cacheFolder, ...more });
const bytes = (cache: string): number => files(cache).reduce((sum, file) => sum + statSync(file).size, 0);
const told = ({ digest, losses }: Outcome) => ({ digest, losses });

describe('features on disk', { timeout: 60_000 }, () => {
  let plain: Outcome;
  beforeAll(async () => {
    plain = (await life({ options: { cache: 'off' } }))!;
    expect(plain).toMatchObject({ computed: true, warnings: [] });
  });

  it('give the bits of training without a cache, and spare decoding and computing in the next process', async () => {
    const cache = newFolder();
    const first = (await life({ options: on(cache) }))!;
    expect(told(first)).toEqual(told(plain));
    expect(first.computed).toBe(true);
    const size = bytes(cache);
    const second = (await life({ options: on(cache) }))!;
    expect(second).toEqual({ ...plain, computed: false });
    expect(bytes(cache)).toBe(size);
    // Some are known, others new.
    const more = { first: 12, pictures: 24 };
    const memory = (await life({ options: more }))!;
    expect(told((await life({ options: on(cache, more) }))!)).toEqual(told(memory));
    expect(bytes(cache) - size).toBe(size / 2 - 32);
    if (process.platform !== 'win32') expect(statSync(cache).mode & 0o077).toBe(0);
  });

  it('lie in the cache folder of the user', async () => {
    const XDG_CACHE_HOME = newFolder();
    await life({ options: { cache: 'disk' }, env: { XDG_CACHE_HOME } });
    expect(files(path.join(XDG_CACHE_HOME, 'thaw', 'features'))).toHaveLength(1);
  });

  it('are others for other weights, another cut, preprocessing, instruction set, precision or draw of augmentation', async () => {
    const cache = newFolder();
    const keys = async (options: object, env: Record<string, string> = {}): Promise<number> => {
      const before = bytes(cache);
      const off = (await life({ options, env }))!;
      const disk = (await life({ options: on(cache, options), env }))!;
      expect(told(disk), JSON.stringify(options)).toEqual(told(off));
      expect(disk.computed, JSON.stringify(options)).toBe(true);
      expect(bytes(cache), JSON.stringify(options)).toBeGreaterThan(before);
      return new Set(files(cache).map((file) => path.basename(file).split('-')[0])).size;
    };
    expect(await keys({})).toBe(1);
    expect(await keys({ seed: 6 })).toBe(2); // other weights
    expect(await keys({ until: 'body.0' })).toBe(3);
    expect(await keys({ resize: 10 })).toBe(4);
    expect(await keys({}, { THAW_MAX_ISA: 'scalar' })).toBe(process.arch === 'x64' ? 5 : 4);
    // 'auto' means one of them, on this machine and for these tests.
    const lives = ['fp32', 'bf16'].map(async (precision) => (await life({ options: on(cache, { precision }) }))!);
    expect((await Promise.all(lives)).filter(({ computed }) => computed)).toHaveLength(1);
    expect(await keys({ precision: 'bf16', until: 'body.0' })).toBe(process.arch === 'x64' ? 7 : 6);
    // The same network; told apart by what is drawn.
    const augmented = { augment: true, variants: 2 };
    const networks = await keys(augmented);
    expect(await keys({ ...augmented, seed: 5, epochs: 2, augment: { flip: 0.5 } })).toBe(networks);
    expect((await life({ options: on(cache, augmented) }))!.computed).toBe(false);
  });

  it('take half the bytes in bf16, and give its bits', async () => {
    const [cache, wide] = [newFolder(), newFolder()];
    const bf16 = (await life({ options: { cache: 'off', precision: 'bf16' } }))!;
    expect(bf16.digest).not.toBe(plain.digest);
    await life({ options: on(wide, { precision: 'fp32' }) });
    expect(told((await life({ options: on(cache, { precision: 'bf16' }) }))!)).toEqual(told(bf16));
    expect((await life({ options: on(cache, { precision: 'bf16' }) }))!).toEqual({ ...bf16, computed: false });
    const rows = (folder: string): number => bytes(folder) - 64 - 24 * 32;
    expect(2 * rows(cache)).toBe(rows(wide));
    const row = 12 * 12 * 12 * 4;
    expect(rows(wide)).toBe(24 * row);
    const tight = newFolder();
    const most = { cacheBytes: 20 * (row / 2 + 32 + 64) };
    expect(told((await life({ options: on(tight, { precision: 'bf16', ...most }) }))!)).toEqual(told(bf16));
    expect(bytes(tight)).toBeLessThanOrEqual(most.cacheBytes);
    expect(bytes(tight)).toBeGreaterThan((19 * row) / 2);
  });

  it('stay where they are when nothing is to be kept', async () => {
    const cache = newFolder();
    await life({ options: on(cache) });
    const [file] = files(cache) as [string];
    utimesSync(file, 1e9, 1e9);
    expect((await life({ options: on(cache, { cacheBytes: 0 }) }))!).toEqual(plain);
    expect((await life({ options: on(cache) }))!.computed).toBe(false);
  });

  it('are shared by processes that run at once', async () => {
    const cache = newFolder();
    const lives = await Promise.all([0, 12, 6].map((first) => life({ options: on(cache, { first, pictures: 24 }) })));
    expect(told(lives[0]!)).toEqual(told(plain));
    for (const first of [0, 6, 12]) {
      const again = (await life({ options: on(cache, { first, pictures: 24 }) }))!;
      expect(again).toMatchObject({ computed: false, warnings: [] });
    }
  });

  it('survive kill -9 at any moment', async () => {
    const cache = newFolder();
    let kills = 0;
    for (let i = 0; i < 8; i++) kills += Number((await life({ options: on(cache), kill: 10 + i * 12 })) === null);
    expect(kills).toBeGreaterThanOrEqual(3);
    for (const _ of [1, 2]) expect(told((await life({ options: on(cache) }))!)).toEqual(told(plain));
    expect((await life({ options: on(cache) }))!).toEqual({ ...plain, computed: false });
  });

  it('are computed anew where a file was damaged, cut or is something else', async () => {
    const cache = newFolder();
    await life({ options: on(cache) });
    const [file] = files(cache) as [string];
    const good = readFileSync(file);
    const damages: (() => void)[] = [
      () => writeFileSync(file, Buffer.from(good.map((byte, at) => (at % 9973 === 5000 ? byte ^ 1 : byte)))),
      () => writeFileSync(file, Buffer.from(good.map((byte, at) => (at === 9 ? byte ^ 1 : byte)))),
      () => truncateSync(file, Math.floor(good.length / 2)),
      () => truncateSync(file, 0),
      () => writeFileSync(file, Buffer.alloc(good.length)),
      () => (rmSync(file), mkdirSync(file)),
    ];
    for (const damage of damages) {
      damage();
      const after = (await life({ options: on(cache) }))!;
      expect(told(after)).toEqual(told(plain));
      expect(after.computed).toBe(true);
      expect(after.warnings).toEqual([]);
      expect((await life({ options: on(cache) }))!).toEqual({ ...plain, computed: false });
      for (const other of files(cache)) rmSync(other, { recursive: true });
      writeFileSync(file, good);
    }
  });

  it('are computed anew where a file is damaged or cut while training uses it', async () => {
    const cache = newFolder();
    const options = on(cache, { epochs: 6 });
    const whole = (await life({ options: { epochs: 6 } }))!;
    await life({ options });
    const [file] = files(cache) as [string];
    const good = readFileSync(file);
    const damage = Buffer.from(good.map((byte, at) => (at % 100 === 50 ? byte ^ 1 : byte)));
    const cut = await life({ options, onEpoch: () => truncateSync(file, 100) });
    expect(told(cut!)).toEqual(told(whole));
    writeFileSync(file, good);
    const flipped = await life({ options, onEpoch: () => writeFileSync(file, damage) });
    expect(told(flipped!)).toEqual(told(whole));
  });

  it('go to memory, with one warning, where the disk is full or the folder cannot be written', async () => {
    const full = newFolder();
    // A row is 12 x 12 x 12 floats: the first fits, few others do.
    const some = (await life({ options: on(full), fileLimit: 64 }))!;
    expect(told(some)).toEqual(told(plain));
    expect(some.warnings).toEqual([expect.stringMatching(/kept in memory.*(too large|space)/i)]);
    expect((await life({ options: on(full) }))!).toMatchObject({ digest: plain.digest, warnings: [] });

    const taken = newFolder();
    writeFileSync(taken, 'a file');
    const none = (await life({ options: on(path.join(taken, 'below')) }))!;
    expect(told(none)).toEqual(told(plain));
    expect(none.warnings).toEqual([expect.stringMatching(/kept in memory.*ENOTDIR/)]);

    const closed = newFolder();
    mkdirSync(closed);
    chmodSync(closed, 0o500);
    const refused = (await life({ options: on(closed) }))!;
    expect(told(refused)).toEqual(told(plain));
    // The superuser may write anywhere.
    if (process.getuid?.() !== 0) expect(refused.warnings).toHaveLength(1);
    chmodSync(closed, 0o700);
  });

  it('stay below their limit: what was not used for longest goes first', async () => {
    const cache = newFolder();
    await life({ options: on(cache) });
    const size = bytes(cache);
    const cacheBytes = Math.ceil(size * 2.5);
    for (const seed of [6, 7, 8]) {
      // Time passes between the runs.
      for (const file of files(cache))
        utimesSync(file, new Date(statSync(file).mtimeMs - 5000), new Date(statSync(file).mtimeMs - 5000));
      await life({ options: on(cache, { seed, cacheBytes }) });
      expect(bytes(cache)).toBeLessThanOrEqual(cacheBytes);
    }
    expect((await life({ options: on(cache, { seed: 8, cacheBytes }) }))!.computed).toBe(false);
    expect((await life({ options: on(cache, { cacheBytes }) }))!.computed).toBe(true);
    // Fewer than the pictures of one run: the others are computed in each epoch.
    const small = newFolder();
    const few = (await life({ options: on(small, { cacheBytes: size / 3 }) }))!;
    expect(told(few)).toEqual(told(plain));
    expect(few.warnings).toEqual([expect.stringMatching(/do not all fit in cacheBytes/)]);
    expect(bytes(small)).toBeLessThanOrEqual(size / 3);
  });
});
