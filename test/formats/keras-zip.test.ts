import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/formats/checkpoint.js';
import { load } from '../../src/index.js';
import { temporaryFolder } from '../python.js';
import { hdf5 } from './hdf5-writer.js';
import type { Arrays } from './hdf5-writer.js';
import { zip } from './zip-writer.js';

const folder = temporaryFolder();
afterAll(folder.remove);

const history = (layer: string) => [
  { args: [{ class_name: '__keras_tensor__', config: { keras_history: [layer, 0, 0] } }], kwargs: {} },
];
const layer = (class_name: string, from: string | null, config: Record<string, unknown>) => ({
  class_name,
  config,
  name: config.name,
  inbound_nodes: from === null ? [] : history(from),
});

/** Pictures 2 x 2 of 0..255 → 1x1 convolution → batch norm → flatten → dense. */
const MODEL = {
  class_name: 'Functional',
  config: {
    name: 'tiny',
    layers: [
      layer('InputLayer', null, { name: 'image', batch_shape: [null, 2, 2, 1] }),
      layer('Rescaling', 'image', { name: 'scale', scale: 0.5, offset: -1 }),
      layer('Conv2D', 'scale', { name: 'mix', filters: 2, kernel_size: [1, 1], use_bias: false }),
      layer('BatchNormalization', 'mix', { name: 'norm', axis: -1, epsilon: 0, center: false }),
      layer('Flatten', 'norm', { name: 'flat' }),
      layer('Dense', 'flat', { name: 'top', units: 1 }),
    ],
    output_layers: ['top', 0, 0],
  },
};

const dense = [1, 2, 3, 4, 5, 6, 7, 8];

function arrays(conv: string, norm: string, top: string): Arrays {
  return {
    [`layers/${conv}/vars/0`]: { shape: [1, 1, 1, 2], values: [1, 10] },
    [`layers/${norm}/vars/0`]: { shape: [2], values: [2, 3] },
    [`layers/${norm}/vars/1`]: { shape: [2], values: [1, -1] },
    [`layers/${norm}/vars/2`]: { shape: [2], values: [4, 9] },
    [`layers/${top}/vars/0`]: { shape: [8, 1], values: dense },
    [`layers/${top}/vars/1`]: { shape: [1], values: [0.5] },
    'optimizer/vars/0': { shape: [1], values: [7] },
  };
}

async function write(weights: Arrays, deflate = false, model: unknown = MODEL): Promise<string> {
  const file = path.join(folder.path, 'tiny.keras');
  const members = [
    { name: 'metadata.json', bytes: Buffer.from('{"keras_version": "3.8.0"}') },
    { name: 'config.json', bytes: Buffer.from(JSON.stringify(model)) },
    { name: 'model.weights.h5', bytes: await hdf5(weights), deflate },
  ];
  writeFileSync(file, zip(members));
  return file;
}

describe('.keras', () => {
  it.each([
    ['by name', 'mix', 'norm', 'top', false],
    ['by kind', 'conv2d', 'batch_normalization', 'dense', true],
  ])('gives what it should, groups %s', async (_, conv, norm, top, deflate) => {
    const net = await load(await write(arrays(conv, norm, top), deflate));
    expect(net.preprocessing).toMatchObject({ source: 'file', channels: 1 });
    expect(net.preprocessing!.mean[0]).toBeCloseTo(2 / 255, 9);
    expect(net.preprocessing!.std[0]).toBeCloseTo(2 / 255, 9);
    const x = [0.1, 0.2, -0.3, 0.4];
    // Keras' order: the channels of each pixel side by side.
    const flat = x.flatMap((v) => [((v - 1) / 2) * 2, ((10 * v + 1) / 3) * 3]);
    const wanted = flat.reduce((sum, v, i) => sum + v * dense[i]!, 0.5);
    const output = Object.values(await net.forward({ data: Float32Array.from(x), shape: [1, 1, 2, 2] }))[0]!;
    expect(output.data[0]).toBeCloseTo(wanted, 4);
    net.dispose();
  });

  it('says what is wrong', async () => {
    const code = (file: string): Promise<string> =>
      openCheckpoint(file)
        .then(({ network }) => network?.() && 'none')
        .then(
          (sound) => sound ?? 'none',
          (error: { code: string }) => error.code,
        );
    const sound = arrays('mix', 'norm', 'top');
    const shape = { ...sound, 'layers/mix/vars/0': { shape: [2], values: [1, 10] } };
    expect(await code(await write(shape))).toBe('ERR_KERAS');
    expect(await code(await write(sound, false, { class_name: 'Lambda', config: {} }))).toBe('ERR_KERAS');
    const { 'layers/top/vars/1': _, ...less } = sound;
    await expect(load(await write(less))).rejects.toMatchObject({ code: 'ERR_LOAD_MISMATCH' });
    const file = await write(sound);
    const bytes = readFileSync(file);
    // Somewhere in the HDF5 file's first bytes.
    bytes.fill(0xff, bytes.indexOf('\x89HDF', 0, 'latin1') + 9, bytes.indexOf('\x89HDF', 0, 'latin1') + 40);
    writeFileSync(file, bytes);
    expect(await code(file)).toBe('ERR_HDF5');
  });
});
