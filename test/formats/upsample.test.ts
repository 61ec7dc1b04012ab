/** Enlargement by repeated pixels, as three formats say it. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { load } from '../../src/index.js';
import { temporaryFolder } from '../python.js';
import { hdf5 } from './hdf5-writer.js';
import { modelBytes } from './onnx-models.js';

const folder = temporaryFolder();
afterAll(folder.remove);

function written(name: string, bytes: Uint8Array | string): string {
  const file = path.join(folder.path, name);
  writeFileSync(file, bytes);
  return file;
}

const half = { mode: 'nearest', coordinate_transformation_mode: 'half_pixel', nearest_mode: 'round_prefer_floor' };

/** Files of one node on pictures [N, 2, 4, 4], by its factors. */
const FILES: Record<string, (rows: number, columns: number) => Promise<string> | string> = {
  onnx: (rows, columns) => {
    const scales = { name: 's', shape: [4], values: [1, 1, rows, columns] };
    const nodes = [{ op: 'Resize', inputs: ['x', '', 's'], outputs: ['y'], attributes: half }];
    return written('a.onnx', modelBytes({ nodes, tensors: [scales], output: 'y' }));
  },
  keras: async (rows, columns) => {
    const config = { name: 'up', size: [rows, columns], batch_input_shape: [null, 4, 4, 2] };
    const layers = [{ class_name: 'UpSampling2D', config }];
    const model_config = JSON.stringify({ class_name: 'Sequential', config: { name: 'a', layers } });
    return written('a.h5', await hdf5({}, { '': { model_config } }));
  },
  darknet: (rows) => {
    written('a.weights', Buffer.from(Int32Array.of(0, 2, 0, 0, 0).buffer));
    return written('a.cfg', `[net]\nwidth=4\nheight=4\nchannels=2\n[upsample]\nstride=${rows}\n`);
  },
};

describe.each(Object.keys(FILES))('enlargement in %s', (format) => {
  const sizes = format === 'darknet' ? [[2, 2], [3, 3]] : [[2, 2], [1, 3], [3, 1], [2, 3]]; // prettier-ignore

  it.each(sizes as [number, number][])('by %d x %d', async (rows, columns) => {
    using net = await load(await FILES[format]!(rows, columns));
    const data = Float32Array.from({ length: 64 }, (_, i) => i);
    const y = Object.values(await net.forward({ data, shape: [2, 2, 4, 4] }))[0]!;
    expect(y.shape).toEqual([2, 2, 4 * rows, 4 * columns]);
    const wanted = Array.from({ length: 64 * rows * columns }, (_, i) => {
      const [line, column] = [Math.floor(i / (4 * columns)), i % (4 * columns)];
      return data[Math.floor(line / rows) * 4 + Math.floor(column / columns)];
    });
    expect([...y.data]).toEqual(wanted);
  });

  it('is refused by more than 64 copies', async () => {
    const file = await FILES[format]!(9, 9);
    await expect(load(file)).rejects.toThrow('an enlargement by 9 x 9');
  });
});
