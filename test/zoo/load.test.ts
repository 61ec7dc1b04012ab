import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { safetensorsHeader } from '../../src/formats/checkpoint.js';
import { load } from '../../src/network/load.js';
import { build, type Config } from '../../src/zoo/index.js';
import { temporaryFolder } from '../python.js';

const ends: (() => void)[] = [];
afterEach(() => ends.splice(0).forEach((end) => end()));

/** A file with the network's tensors, all zero, under other names. */
async function fileOf(name: string, config: Config, rename = (tensor: string): string => tensor): Promise<string> {
  const { graph } = build(name, config);
  const tensors = [...graph.parameters, ...graph.states].map(({ name: tensor, shape, dtype }) => ({
    ...{ name: rename(tensor), shape },
    dtype: dtype === 'i64' ? ('I64' as const) : ('F32' as const),
  }));
  const bytes = tensors.reduce((sum, t) => sum + (t.dtype === 'I64' ? 8 : 4) * t.shape.reduce((a, b) => a * b, 1), 0);
  const { path, remove } = temporaryFolder();
  ends.push(remove);
  const file = join(path, 'weights.safetensors');
  await writeFile(file, Buffer.concat([safetensorsHeader(tensors, {}), Buffer.alloc(bytes)]));
  return file;
}

describe('load', () => {
  it("reads torchvision's old names of DenseNet's layers", async () => {
    const old = (name: string): string => name.replace(/(denselayer\d+\.(?:norm|conv))([12])\./, '$1.$2.');
    const net = await load(await fileOf('densenet121', { classes: 2 }, old));
    ends.push(() => net.dispose());
    expect(net.name).toBe('densenet121');
    expect(net.loadReport.initialised).toEqual([]);
    expect(net.loadReport.loaded.map(({ name }) => name)).toContain('features.denseblock1.denselayer1.norm1.weight');
  });

  it('reads auxiliary heads, which training passes by', async () => {
    const net = await load(await fileOf('googlenet', { classes: 3, auxiliary: true }));
    ends.push(() => net.dispose());
    expect(net.architecture).toEqual({ name: 'googlenet', config: { classes: 3, channels: 3, auxiliary: true } });
    expect(net.loadReport.loaded.map(({ name }) => name)).toContain('aux2.fc2.weight');
    const image = { data: new Float32Array(3 * 64 * 64), shape: [1, 3, 64, 64] };
    const values = await net.forward({ image }, { outputs: ['fc', 'aux1.fc2'] });
    expect(values['aux1.fc2']!.shape).toEqual([1, 3]);
    net.replaceHead({ labels: ['a', 'b'] });
    expect(net.graph.outputs).toHaveLength(1);
    const target = { data: Int32Array.of(1), shape: [1] };
    await net.step({ image, target }, { update: { optimizer: 'sgd', learningRate: 0.1 } });
    const after = await net.tensor('aux2.fc2.bias');
    expect((after.data as Float32Array).every((value) => value === 0)).toBe(true);
  });

  it.each(['shufflenet_v2_x0_5', 'mobilenet_v1_0_25', 'mobilenet_v3_small', 'regnet_y_400mf', 'googlenet'])(
    '%s takes a new head',
    async (name) => {
      const net = await load(await fileOf(name, { classes: 3 }));
      ends.push(() => net.dispose());
      net.freeze();
      net.replaceHead({ labels: ['a', 'b'] });
      const image = { data: new Float32Array(3 * 64 * 64), shape: [1, 3, 64, 64] };
      const [scores] = Object.values(await net.forward({ image }));
      expect(scores!.shape).toEqual([1, 2]);
      net.replaceHead({ labels: ['a', 'b', 'c'], preset: 'fastai' });
      const [deeper] = Object.values(await net.forward({ image }));
      expect(deeper!.shape).toEqual([1, 3]);
    },
  );
});
