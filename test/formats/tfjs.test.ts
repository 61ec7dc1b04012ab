import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/formats/checkpoint.js';
import { load } from '../../src/index.js';
import { temporaryFolder } from '../python.js';
import { sharedPath } from '../shared.js';

const folder = temporaryFolder();
afterAll(folder.remove);

const layer = (class_name: string, config: Record<string, unknown>) => ({ class_name, config });

/** conv 3x3 same, stride 2 → relu → flatten → dense; pictures 4 x 6. */
const LAYERS = [
  layer('Conv2D', {
    name: 'conv',
    batch_input_shape: [null, 4, 6, 1],
    filters: 2,
    kernel_size: [3, 3],
    strides: [2, 2],
    padding: 'same',
    use_bias: false,
    activation: 'relu',
  }),
  layer('Flatten', { name: 'flat' }),
  layer('Dense', { name: 'top', units: 2, activation: 'softmax' }),
];
const topology = (layers: unknown[] = LAYERS) => ({
  keras_version: '2.4.0',
  model_config: layer('Sequential', { name: 'tiny', layers }),
});

const kernel = Float32Array.from({ length: 18 }, (_, i) => (i % 5) - 2);
const dense = Float32Array.from({ length: 24 }, (_, i) => (i % 7) - 3);
const bias = Float32Array.of(1, -1);
const WEIGHTS = [
  { name: 'conv/kernel', shape: [3, 3, 1, 2], dtype: 'float32' },
  { name: 'top/kernel', shape: [12, 2], dtype: 'float32' },
  { name: 'top/bias', shape: [2], dtype: 'float32' },
];
const BYTES = Buffer.concat([kernel, dense, bias].map((values) => Buffer.from(values.buffer)));

function write(name: string, json: unknown, files: Record<string, Buffer>): string {
  const to = path.join(folder.path, name);
  mkdirSync(to, { recursive: true });
  for (const [file, bytes] of Object.entries(files)) writeFileSync(path.join(to, file), bytes);
  writeFileSync(path.join(to, 'model.json'), typeof json === 'string' ? json : JSON.stringify(json));
  return path.join(to, 'model.json');
}

/** What the tiny network gives, by plain loops in TensorFlow's own order. */
function reference(x: Float32Array): number[] {
  const flat: number[] = [];
  for (let r = 0; r < 2; r++)
    for (let q = 0; q < 3; q++)
      for (let o = 0; o < 2; o++) {
        let sum = 0;
        for (let i = 0; i < 3; i++)
          for (let j = 0; j < 3; j++) {
            // One row and one column are missing in all: they come after.
            const [y, z] = [2 * r + i, 2 * q + j];
            if (y < 4 && z < 6) sum += x[y * 6 + z]! * kernel[(i * 3 + j) * 2 + o]!;
          }
        flat.push(Math.max(sum, 0));
      }
  return [0, 1].map((o) => flat.reduce((sum, v, i) => sum + v * dense[i * 2 + o]!, bias[o]!));
}

const picture = Float32Array.from({ length: 24 }, (_, i) => Math.sin(i));

async function scores(file: string): Promise<number[]> {
  const net = await load(file);
  const output = Object.values(await net.forward({ data: picture, shape: [1, 1, 4, 6] }))[0]!;
  net.dispose();
  return [...(output.data as Float32Array)];
}

describe('TensorFlow.js', () => {
  it('gives the scores, from one file of weights and from pieces that cut through them', async () => {
    const manifest = (paths: string[]) => ({
      modelTopology: topology(),
      weightsManifest: [{ paths, weights: WEIGHTS }],
    });
    const whole = write('whole', manifest(['a.bin']), { 'a.bin': BYTES });
    const cut = write('cut', manifest(['a.bin', 'b.bin']), {
      'a.bin': BYTES.subarray(0, 50),
      'b.bin': BYTES.subarray(50),
    });
    for (const file of [whole, cut]) {
      const got = await scores(file);
      reference(picture).forEach((wanted, i) => expect(got[i]).toBeCloseTo(wanted, 4));
    }
    const { network, tensors } = await openCheckpoint(whole);
    const { graph, notes } = network!();
    expect(graph.outputs).toEqual(['top']);
    expect(notes.join()).toMatch(/softmax 'top.activation'/);
    expect(tensors.get('conv.weight')!.shape).toEqual([2, 1, 3, 3]);
  });

  it('reads quantized weights', async () => {
    const bytes = Buffer.alloc(18 + 2 * 24 + 8);
    kernel.forEach((v, i) => bytes.writeUInt8((v + 2) * 10, i));
    dense.forEach((v, i) => bytes.writeUInt16LE((v + 3) * 1000, 18 + 2 * i));
    bias.forEach((v, i) => bytes.writeFloatLE(v, 66 + 4 * i));
    const quantization = [
      { dtype: 'uint8', scale: 0.1, min: -2 },
      { dtype: 'uint16', scale: 0.001, min: -3 },
    ];
    const weights = WEIGHTS.map((weight, i) => ({
      ...weight,
      ...(quantization[i] && { quantization: quantization[i] }),
    }));
    const json = { modelTopology: topology(), weightsManifest: [{ paths: ['q.bin'], weights }] };
    const got = await scores(write('quantized', json, { 'q.bin': bytes }));
    reference(picture).forEach((wanted, i) => expect(got[i]).toBeCloseTo(wanted, 3));
  });

  it('stays within its folder', async () => {
    writeFileSync(path.join(folder.path, 'outside.bin'), BYTES);
    const at = (name: string) => ({
      modelTopology: topology(),
      weightsManifest: [{ paths: [name], weights: WEIGHTS }],
    });
    for (const name of ['../outside.bin', path.join(folder.path, 'outside.bin'), '..\\outside.bin', 'x\0', ''])
      await expect(openCheckpoint(write('outside', at(name), {}))).rejects.toMatchObject({ code: 'ERR_PATH_OUTSIDE' });
    const linked = write('linked', at('link.bin'), {});
    symlinkSync('../outside.bin', path.join(path.dirname(linked), 'link.bin'));
    await expect(openCheckpoint(linked)).rejects.toMatchObject({ code: 'ERR_PATH_OUTSIDE' });
    await expect(openCheckpoint(write('missing', at('no.bin'), {}))).rejects.toMatchObject({
      code: 'ERR_FILE_NOT_FOUND',
    });
  });

  it('says what is wrong', async () => {
    const code = async (json: unknown, bytes = BYTES): Promise<string> =>
      openCheckpoint(write('wrong', json, { 'a.bin': bytes }))
        .then(({ network }) => network?.() && 'none')
        .then(
          (sound) => sound ?? 'none',
          (error: { code: string }) => error.code,
        );
    const model = (weights: unknown[], layers?: unknown[]) => ({
      modelTopology: topology(layers),
      weightsManifest: [{ paths: ['a.bin'], weights }],
    });
    expect(await code('{"modelTopology": ')).toBe('ERR_TFJS');
    expect(await code({ format: 'graph-model', modelTopology: { node: [] }, weightsManifest: [] })).toBe('ERR_TFJS');
    expect(await code(model(WEIGHTS), BYTES.subarray(4))).toBe('ERR_TFJS');
    expect(await code(model(WEIGHTS.slice(1)))).toBe('ERR_TFJS');
    expect(await code(model([{ ...WEIGHTS[0], shape: [2 ** 40, 2 ** 40] }]))).toBe('ERR_TFJS');
    expect(await code(model(WEIGHTS, [LAYERS[0], layer('LSTM', { name: 'lstm' })]))).toBe('ERR_KERAS_LAYER');
    const nested = JSON.parse(
      `${'{"class_name":"Sequential","config":{"layers":['.repeat(40)}1${']}}'.repeat(40)}`,
    ) as unknown;
    expect(await code(model(WEIGHTS, [nested]))).toBe('ERR_KERAS');
    const left = model([...WEIGHTS, { name: 'more', shape: [1], dtype: 'float32' }]);
    const file = write('left', left, { 'a.bin': Buffer.concat([BYTES, Buffer.alloc(4)]) });
    await expect(load(file)).rejects.toMatchObject({ code: 'ERR_LOAD_MISMATCH' });
    const unsized = await load(write('fine', model(WEIGHTS), { 'a.bin': BYTES }));
    await expect(unsized.predict({ width: 6, height: 4, channels: 1, data: new Uint8Array(24) })).rejects.toMatchObject(
      {
        code: 'ERR_PREPROCESSING_UNKNOWN',
      },
    );
    unsized.dispose();
  });
});

const mobilenet = sharedPath('weights', 'mobilenet_v1_0.25_224-tfjs');

describe.skipIf(!mobilenet)('MobileNet v1 0.25', () => {
  it.each(['model.with-topology.json', 'model.json'])('sees a panda from %s', async (file) => {
    const names = readFileSync(sharedPath('data', 'test-photos', 'labels', 'labels1000.txt')!, 'utf8')
      .trim()
      .split('\n');
    const net = await load(path.join(mobilenet!, file), { labels: names });
    const [best] = await net.predict(sharedPath('data', 'test-photos', 'panda.jpg')!);
    expect(best!.label).toContain('giant panda');
    expect(best!.probability).toBeGreaterThan(0.965);
    net.replaceHead({ labels: ['panda', 'other'] });
    expect(net.head).toMatchObject({ classifier: 'conv_preds', outputs: 2 });
    net.dispose();
  });
});
