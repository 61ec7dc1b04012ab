import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { create } from '../../src/network/create.js';
import type { Network } from '../../src/network/network.js';
import { features } from '../../src/train/features.js';

const image = { data: Float32Array.from({ length: 3 * 32 * 32 }, (_, i) => Math.sin(i)), shape: [3, 32, 32] };

describe('values by name', () => {
  let net: Network;
  beforeAll(async () => {
    net = await create('cifar_resnet20');
  });
  afterAll(() => net.dispose());

  it('forward takes stages, layers and inputs, and answers under the names asked for', async () => {
    const batch = { image: { ...image, shape: [1, ...image.shape] } };
    const values = await net.forward(batch, { outputs: ['layer2', 'layer2.2.relu_1', 'linear'] });
    expect(Object.keys(values)).toEqual(['layer2', 'layer2.2.relu_1', 'linear']);
    expect(values['layer2']!.shape).toEqual([1, 32, 16, 16]);
    expect(values['layer2']!.data).toEqual(values['layer2.2.relu_1']!.data);
  });

  it('features takes a stage', async () => {
    const { layer, shape } = await features(net, { image }, { layer: 'layer1' });
    expect([layer, ...shape]).toEqual(['layer1.2.relu_1', 1, 16, 32, 32]);
  });

  it('a name that nothing bears is an error that names the nearest', async () => {
    const wrong = net.forward({ data: image.data, shape: [1, 3, 32, 32] }, { outputs: ['layer9'] });
    await expect(wrong).rejects.toMatchObject({ code: 'ERR_NO_MATCH', message: expect.stringContaining("'layer1'") });
    await expect(features(net, { image }, { layer: 'nope' })).rejects.toMatchObject({ code: 'ERR_NO_MATCH' });
  });
});
