/** `thaw fit` from outside, and what its result is good for. */
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { create } from '../../src/network/create.js';
import { load } from '../../src/network/load.js';
import { openCheckpoint } from '../../src/formats/checkpoint.js';
import { drawPhotos, json, thaw } from './thaw.js';

const folder = mkdtempSync(path.join(tmpdir(), 'thaw-cli-'));
const at = (...names: string[]) => path.join(folder, ...names);
const base = at('base.safetensors');
const photos = at('photos');
/** A body with random weights has little to say: its upper part learns too. */
const freeze = ['conv1', 'bn1', 'layer1', 'layer2'].flatMap((name) => ['--freeze', name]);
const learn = ['--base', base, ...freeze, '--epochs', '12', '--batch', '4', '--learning-rate', '0.003'];

async function tensorBytes(file: string): Promise<Map<string, string>> {
  const net = await load(file);
  const all = await Promise.all(
    net.parameters().map(async ({ name }) => [name, Buffer.from((await net.tensor(name)).data.buffer).toString('hex')]),
  );
  net.dispose();
  return new Map(all as [string, string][]);
}

beforeAll(async () => {
  const net = await create('cifar_resnet20', { seed: 3 });
  await net.save(base);
  net.dispose();
  await drawPhotos(photos, ['green', 'red'], 8);
  const { code, error } = await thaw(['fit', photos, '--out', at('trained.safetensors'), ...learn]);
  if (code !== 0) throw new Error(error);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('thaw fit', () => {
  it('gives accuracy, loss and what it did as one line of JSON', async () => {
    const result = await json(['fit', photos, '--out', at('json.safetensors'), ...learn, '--seed', '2']);
    expect(result).toMatchObject({
      ...{ out: at('json.safetensors'), architecture: 'cifar_resnet20', head: 'single', labels: ['green', 'red'] },
      ...{ accuracy: 1, measuredOn: 'validation', epochs: 12, weights: 'last', skipped: [] },
      ...{ trainingPictures: 12, validationPictures: 4, metrics: { kind: 'single', accuracy: 1 } },
    });
    expect(result.loss).toBe(result.metrics.loss);
    expect(existsSync(at('json.safetensors.checkpoint'))).toBe(false);
  });

  it('prints events as lines of JSON before the result, and progress to standard error only', async () => {
    const args = ['fit', photos, '--out', at('events.safetensors'), ...learn, '--json', '--events'];
    const { out, error } = await thaw(args);
    const lines = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines[0].type).toBe('start');
    expect(lines.filter(({ type }) => type === 'epoch').map(({ epoch }) => epoch)).toEqual(
      Array.from({ length: 12 }, (_, i) => i + 1),
    );
    expect(lines.at(-1)).toMatchObject({ accuracy: 1 });
    expect(error).toMatch(/^cifar_resnet20: \d+ of \d+ weight tensors are trained$/m);
    expect(error).toMatch(/^epoch 12\/12 /m);
    expect(error).not.toContain('\x1b');
  });

  it('--cache disk starts the next run on kept features, and --profile says where the time went', async () => {
    const args = ['fit', photos, '--base', base, '--epochs', '2', '--cache', 'disk', '--cache-folder', at('features')];
    const first = await json([...args, '--out', at('first.safetensors')]);
    expect(first.times.reading.prepare).toBeGreaterThan(0);
    const second = await json([...args, '--out', at('second.safetensors')]);
    expect(second.times.reading).toMatchObject({ decode: 0, prepare: 0 });
    expect(await tensorBytes(at('second.safetensors'))).toEqual(await tensorBytes(at('first.safetensors')));
    const { error } = await thaw([...args, '--out', at('third.safetensors'), '--profile']);
    const table = /^time .*\n(?:.*\n)+?all .*$/m.exec(error)![0].split('\n');
    expect(table).toHaveLength(8);
    expect(new Set(table.map((line) => line.length)).size).toBe(1);
    expect(error).toMatch(/Training waited for data during \d+\.\d % of the time/);
    const shares = table.slice(1, -1).map((line) => Number(/([\d.]+) %$/.exec(line)![1]));
    expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(100, 0);
    const { code } = await thaw([...args.slice(0, -4), '--cache-folder', 'x', '--out', at('wrong.safetensors')]);
    expect(code).not.toBe(0);
  });

  it('without further words trains the head alone', async () => {
    const result = await json(['fit', photos, '--base', base, '--out', at('head.safetensors'), '--epochs', '1']);
    expect(result.epochs).toBe(1);
    const [before, after] = [await tensorBytes(base), await tensorBytes(at('head.safetensors'))];
    const changed = [...before].filter(([name, bytes]) => after.get(name) !== bytes).map(([name]) => name);
    expect(changed.sort()).toEqual(
      [...before.keys()].filter((name) => name.startsWith('fc.') || name.startsWith('linear.')).sort(),
    );
  });

  it('--freeze takes the patterns of freeze() and trains the rest of the body', async () => {
    const chosen = ['--freeze', 'conv1', '--freeze', '*bn*', '--freeze', 'layer1'];
    await json(['fit', photos, '--base', base, '--out', at('frozen.safetensors'), '--epochs', '1', ...chosen]);
    const [before, after] = [await tensorBytes(base), await tensorBytes(at('frozen.safetensors'))];
    const same = (name: string) => before.get(name) === after.get(name);
    const kept = [...before.keys()].filter((name) => /^(conv1|layer1)\.|bn/.test(name));
    expect(kept.filter((name) => !same(name))).toEqual([]);
    expect([...before.keys()].filter((name) => /^layer3.*conv.*weight/.test(name) && same(name))).toEqual([]);
  });

  it('--unfreeze trains layers of a body that stays frozen', async () => {
    const args = ['--base', base, '--out', at('unfrozen.safetensors'), '--epochs', '1', '--unfreeze', 'layer3.2'];
    await json(['fit', photos, ...args]);
    const [before, after] = [await tensorBytes(base), await tensorBytes(at('unfrozen.safetensors'))];
    const changed = [...before.keys()].filter((name) => before.get(name) !== after.get(name));
    expect(changed).toContain('layer3.2.conv2.weight');
    expect(changed.filter((name) => !/^(layer3\.2|fc|linear)\./.test(name))).toEqual([]);
  });

  it('a pattern that matches nothing is a failure that says so', async () => {
    const args = ['--base', base, '--out', at('nothing.safetensors'), '--freeze', 'layer9'];
    const { code, error } = await thaw(['fit', photos, ...args]);
    expect(code).toBe(1);
    expect(error).toContain('layer9');
    expect(existsSync(at('nothing.safetensors'))).toBe(false);
  });

  it('--recipe fine-tune trains the head, then everything', async () => {
    const args = ['--base', base, '--out', at('tuned.safetensors'), '--recipe', 'fine-tune', '--freeze-epochs', '2'];
    const result = await json(['fit', photos, ...args, '--epochs', '3', '--batch', '8', '--augment']);
    expect(result.epochs).toBe(5);
  });

  it('takes val/ where there is one, a folder of its own, a part, or none', async () => {
    const parts = at('parts');
    cpSync(photos, path.join(parts, 'train'), { recursive: true });
    await drawPhotos(path.join(parts, 'val'), ['green', 'red'], 3);
    const fit = async (dir: string, ...args: string[]) =>
      json(['fit', dir, '--base', base, '--out', at('validated.safetensors'), '--force', '--epochs', '1', ...args]);
    expect(await fit(parts)).toMatchObject({ trainingPictures: 16, validationPictures: 6, measuredOn: 'validation' });
    expect(await fit(photos, '--validation', '0')).toMatchObject({ validationPictures: 0, measuredOn: 'training' });
    expect(await fit(photos, '--validation', '0.5')).toMatchObject({ trainingPictures: 8, validationPictures: 8 });
    const own = await fit(photos, '--validation', path.join(parts, 'val'));
    expect(own).toMatchObject({ trainingPictures: 16, validationPictures: 6 });
  });

  it('skips and names files that cannot be read, and stops at them with --strict', async () => {
    const odd = at('odd');
    cpSync(photos, odd, { recursive: true });
    writeFileSync(path.join(odd, 'red', 'broken.jpg'), 'no picture');
    const args = ['fit', odd, '--base', base, '--out', at('odd.safetensors'), '--epochs', '1'];
    const { code, error } = await thaw([...args, '--json']);
    expect([code, error]).toEqual([0, expect.stringContaining('broken.jpg')]);
    expect((await thaw([...args, '--force', '--strict'])).code).toBe(1);
  });

  it('keeps an existing --out unless --force is given', async () => {
    const out = at('existing.safetensors');
    writeFileSync(out, 'mine');
    const refused = await thaw(['fit', photos, '--base', base, '--out', out, '--epochs', '1']);
    expect([refused.code, refused.error]).toEqual([2, expect.stringContaining('--force')]);
    expect((await openCheckpoint(base)).tensors.size).toBeGreaterThan(0);
    await json(['fit', photos, '--base', base, '--out', out, '--epochs', '1', '--force']);
    expect((await openCheckpoint(out)).format).toBe('safetensors');
  });

  it('the same seed gives the same file, for any number of threads', async () => {
    const files = await Promise.all(
      [1, 2].map(async (threads) => {
        const out = at(`threads-${threads}.safetensors`);
        await json(['fit', photos, ...learn, '--epochs', '2', '--threads', String(threads), '--out', out]);
        return tensorBytes(out);
      }),
    );
    expect(files[0]).toEqual(files[1]);
  });

  it('several labels a picture and numbers come from lists', async () => {
    mkdirSync(at('lists'));
    const rows = ['red', 'green'].flatMap((label) =>
      Array.from({ length: 8 }, (_, i) => [path.join(photos, label, `${i}.jpg`), label, i]),
    );
    writeFileSync(
      at('lists', 'multi.csv'),
      ['file,labels', ...rows.map(([file, label]) => `${file},${label}|thing`)].join('\n'),
    );
    writeFileSync(
      at('lists', 'numbers.csv'),
      ['file,target_size', ...rows.map(([file, , size]) => `${file},${size}`)].join('\n'),
    );
    const fit = async (list: string, out: string) =>
      json(['fit', at('lists', list), '--base', base, '--out', at(out), '--epochs', '1']);
    const multi = await fit('multi.csv', 'multi.safetensors');
    expect(multi).toMatchObject({ head: 'multi', labels: ['green', 'red', 'thing'], metrics: { kind: 'multi' } });
    expect(multi).not.toHaveProperty('accuracy');
    expect(await fit('numbers.csv', 'numbers.safetensors')).toMatchObject({
      head: 'regression',
      metrics: { kind: 'regression' },
    });
    const picture = rows[0]![0] as string;
    const { predictions } = await json(['predict', at('numbers.safetensors'), picture]);
    expect(predictions).toEqual([
      { file: picture, values: [{ label: 'target_size', index: 0, value: expect.any(Number) }] },
    ]);
    const told = await json(['predict', at('multi.safetensors'), picture]);
    expect(told.predictions[0].labels).toHaveLength(3);
  });
});

describe('Ctrl-C during a fit', () => {
  const long = ['--base', base, ...freeze, '--epochs', '40', '--batch', '4'];

  it('writes a checkpoint and exits with 130; --resume goes on to the same bits', async () => {
    await json(['fit', photos, ...long, '--out', at('whole.safetensors')]);
    const args = ['fit', photos, ...long, '--out', at('broken.safetensors')];
    const { code, out, error } = await thaw([...args, '--json'], /^epoch 2\//m);
    expect([code, out]).toEqual([130, '']);
    expect(error).toContain('--resume');
    expect(existsSync(at('broken.safetensors'))).toBe(false);
    expect(existsSync(at('broken.safetensors.checkpoint'))).toBe(true);
    const { epochs } = await json([...args, '--resume']);
    expect(epochs).toBe(40);
    expect(await tensorBytes(at('broken.safetensors'))).toEqual(await tensorBytes(at('whole.safetensors')));
  });
});

describe('a trained network', () => {
  const trained = at('trained.safetensors');

  it('predicts', async () => {
    const files = [path.join(photos, 'red', '1.jpg'), path.join(photos, 'green', '2.jpg')];
    const { predictions } = await json(['predict', trained, ...files]);
    expect(predictions.map(({ file }: { file: string }) => file)).toEqual(files);
    expect(predictions[0].labels[0]).toEqual({ label: 'red', index: 1, probability: expect.closeTo(1, 1) });
    expect(predictions[1].labels[0]).toMatchObject({ label: 'green', index: 0 });
    const { out } = await thaw(['predict', trained, files[0]!, '--top', '1']);
    expect(out).toMatch(/1\.jpg +\d+\.\d % +red/);
  });

  it('is evaluated', async () => {
    const result = await json(['evaluate', trained, photos]);
    expect(result).toMatchObject({ part: 'train', pictures: 16, accuracy: 1, skipped: [] });
    expect(result.metrics).toMatchObject({
      accuracy: 1,
      confusion: [
        [8, 0],
        [0, 8],
      ],
    });
    expect(result.loss).toBe(result.metrics.loss);
    const { out } = await thaw(['evaluate', trained, photos]);
    expect(out).toMatch(/precision +recall/);
    expect((await thaw(['evaluate', trained, photos, '--part', 'test'])).code).toBe(2);
  });

  it('gives features', async () => {
    const files = [path.join(photos, 'red', '1.jpg'), path.join(photos, 'green', '2.jpg')];
    const { shape, rows } = await json(['features', trained, ...files]);
    expect(shape).toEqual([2, 64]);
    expect(rows[1].features).toHaveLength(64);
    expect(await json(['features', trained, ...files, '--out', at('features.jsonl')])).toMatchObject({
      shape: [2, 64],
    });
    expect(existsSync(at('features.jsonl'))).toBe(true);
  });

  it('is inspected', async () => {
    const found = await json(['inspect', trained]);
    expect(found).toMatchObject({ architecture: 'cifar_resnet20', labels: ['green', 'red'], format: 'safetensors' });
    expect(found.preprocessing.source).toBe('file');
    const { out } = await thaw(['inspect', trained]);
    expect(out).toMatch(/layer +operator/);
  });
});
