import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/formats/checkpoint.js';
import { load } from '../../src/index.js';
import { sharedPath } from '../shared.js';
import { darknetReference } from './darknet-reference.js';
import { COUNT, darknetWeights, SMALL } from './darknet-small.js';

const folder = mkdtempSync(path.join(os.tmpdir(), 'thaw-darknet-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function write(name: string, cfg = SMALL, count = COUNT, minor = 2): string {
  writeFileSync(path.join(folder, `${name}.cfg`), cfg);
  writeFileSync(path.join(folder, `${name}.weights`), darknetWeights(count, minor));
  return path.join(folder, `${name}.cfg`);
}

const code = async (file: string): Promise<string> =>
  openCheckpoint(file)
    .then(({ network }) => network?.() && 'none')
    .then(
      (sound) => sound ?? 'none',
      (error: { code: string }) => error.code,
    );

describe('Darknet', () => {
  it.each([
    ['darknet19', 20856776, 1],
    ['darknet53', 41645640, 2],
  ])('reads the .weights of %s with no .cfg beside them', async (name, numbers, minor) => {
    const file = path.join(folder, `${name}.weights`);
    const header = minor === 2 ? 20 : 16;
    const head = Buffer.alloc(header + 4 * (4 * 32 + 1));
    head.writeInt32LE(minor, 4);
    // Of the first layer: bias, weight and running statistics of its norm, and the first number of its kernel.
    for (let i = 0; i < 5; i++) head.writeFloatLE(i + 1, header + 4 * 32 * i);
    writeFileSync(file, head);
    truncateSync(file, header + 4 * numbers);
    using net = await load(file);
    expect(net.architecture).toMatchObject({ name, config: { classes: 1000 } });
    expect(net.preprocessing).toMatchObject({ mean: [0, 0, 0], std: [1, 1, 1], crop: 256 });
    const initialised = net.loadReport.initialised.filter((tensor) => !tensor.name.endsWith('.num_batches_tracked'));
    expect(initialised).toEqual([]);
    const parts = ['norm.bias', 'norm.weight', 'norm.running_mean', 'norm.running_var', 'weight'];
    const first = await Promise.all(parts.map((part) => net.tensor(`layers.0.${part}`)));
    expect(first.map(({ data }) => (data as Float32Array)[0])).toEqual([1, 2, 3, 4, 5]);
    rmSync(file);
  });

  it('reads a .cfg with its .weights, from either, of both headers', async () => {
    for (const minor of [1, 2]) {
      const cfg = write(`v${minor}`, SMALL, COUNT, minor);
      const net = await load(cfg);
      expect(net.head).toMatchObject({ classifier: 'layers.4', outputs: 6 });
      expect(net.preprocessing).toMatchObject({ mean: [0, 0, 0], std: [1, 1, 1], resize: [6, 8] });
      const output = Object.values(
        await net.forward({ data: new Float32Array(144).fill(0.5), shape: [1, 3, 6, 8] }),
      )[0]!;
      expect(output.shape).toEqual([1, 6]);
      expect([...(output.data as Float32Array)].every(Number.isFinite)).toBe(true);
      net.replaceHead({ labels: ['a', 'b'] });
      net.dispose();
      const { tensors } = await openCheckpoint(cfg.replace('.cfg', '.weights'));
      expect(tensors.get('layers.0.weight')!.shape).toEqual([4, 3, 3, 3]);
    }
  });

  it('takes weights from elsewhere when told', async () => {
    const cfg = write('here');
    const other = write('there').replace('.cfg', '.weights');
    rmSync(cfg.replace('.cfg', '.weights'));
    expect(await code(cfg)).toBe('ERR_FILE_NOT_FOUND');
    (await load(cfg, { weights: other })).dispose();
  });

  it('says what is wrong', async () => {
    expect(await code(write('short', SMALL, COUNT - 1))).toBe('ERR_DARKNET');
    expect(await code(write('strange', `${SMALL}\n[lstm]\noutput=3\n`))).toBe('ERR_DARKNET_LAYER');
    expect(await code(write('route', SMALL.replace('layers=-1', 'layers=-9')))).toBe('ERR_DARKNET');
    expect(await code(write('huge', SMALL.replace('filters=4', 'filters=4e30')))).toBe('ERR_DARKNET');
    expect(await code(write('line', `${SMALL}\nnonsense\n`))).toBe('ERR_DARKNET');
    const text = path.join(folder, 'text.txt');
    writeFileSync(text, '# a heading\nand a text\n');
    expect(await code(text)).toBe('ERR_FORMAT_UNKNOWN');
    const cut = write('cut');
    truncateSync(cut.replace('.cfg', '.weights'), 6);
    expect(await code(cut)).toBe('ERR_FILE_TRUNCATED');
  });
});

const nano = sharedPath('weights', 'mobilenetv2-yolo-nano-darknet', 'VOC', 'MobileNetV2-YOLOv3-Nano-voc.cfg');

describe.skipIf(!nano)('MobileNetV2-YOLO Nano', () => {
  it('fits its weights to the byte and equals a reference in double precision', async () => {
    const net = await load(nano!);
    expect(net.preprocessing).toMatchObject({ resize: [320, 320], channels: 3 });
    const picture = Float32Array.from(
      { length: 3 * 320 * 320 },
      (_, i) => 0.5 + 0.5 * Math.sin(i / 97) * Math.cos(i / 1013),
    );
    const outputs = Object.values(await net.forward({ data: picture, shape: [1, 3, 320, 320] }));
    const wanted = darknetReference(nano!, nano!.replace('.cfg', '.weights'), picture);
    expect(outputs.map(({ shape }) => shape)).toEqual([
      [1, 75, 10, 10],
      [1, 75, 20, 20],
    ]);
    outputs.forEach(({ data }, o) => {
      const scale = Math.max(...wanted[o]!.map(Math.abs));
      const worst = Math.max(...[...wanted[o]!].map((w, i) => Math.abs(w - (data as Float32Array)[i]!)));
      expect(worst / scale).toBeLessThan(1e-4);
    });
    net.dispose();
  });
});
