import { describe, expect, it } from 'vitest';
import { create } from '../../src/network/create.js';

const picture = { data: Float32Array.from({ length: 3 * 32 * 32 }, (_, i) => Math.sin(i)), shape: [1, 3, 32, 32] };

async function scores(threads: number): Promise<unknown> {
  const net = await create('cifar_resnet20', { threads });
  const outputs = await net.forward(picture);
  net.dispose();
  return Object.values(outputs)[0]!.data;
}

describe('threads of a network', () => {
  it('change no bit', async () => {
    expect(await scores(1)).toEqual(await scores(3));
  });

  it.each([0, 1.5, 257, '2'])('%s is an error', async (threads) => {
    await expect(create('cifar_resnet20', { threads: threads as number })).rejects.toMatchObject({
      code: 'ERR_OPTION',
    });
  });
});
