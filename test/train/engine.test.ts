/** Training on the core itself: what the fake session cannot show. */
import { afterEach, describe, expect, it } from 'vitest';
import type { Sample } from '../../src/data/types.js';
import { GraphBuilder } from '../../src/graph/builder.js';
import { fromGraph } from '../../src/network/create.js';
import type { Network } from '../../src/network/network.js';
import type { FitOptions } from '../../src/train/options.js';
import { constant } from '../../src/train/schedule.js';
import '../../src/train/attach.js';
import { LABELS, toyData } from './toy.js';

const open: Network[] = [];
afterEach(() => open.splice(0).forEach((net) => net.dispose()));

/** x [N, 4] → body.0 (linear 16) → batch norm → relu → fc (linear 3). */
async function network(): Promise<Network> {
  const g = new GraphBuilder();
  let x = g.linear('body.0', g.input('x', 'f32', ['N', 4]), { in: 4, out: 16 });
  x = g.dropout('drop', g.relu('relu', g.batchNorm('bn', x, 16)), { p: 0.1 });
  const net = await fromGraph(g.build([g.linear('fc', x, { in: 16, out: 3 })]), { labels: LABELS, seed: 2 });
  open.push(net);
  return net;
}

async function weights(net: Network): Promise<Record<string, number[]>> {
  const all = await Promise.all(
    net.parameters().map(async ({ name }) => [name, Array.from((await net.tensor(name)).data, Number)]),
  );
  return Object.fromEntries(all) as Record<string, number[]>;
}

const quick = { epochs: 3, batch: 8, learningRate: 0.05, schedule: constant(), seed: 4 } as const;

describe('fit on the core', () => {
  it('learns under every optimizer', async () => {
    for (const optimizer of ['sgd', 'adam', 'adamw'] as const) {
      const net = await network();
      const result = await net.fit(toyData(60), {
        ...quick,
        epochs: 20,
        optimizer,
        nesterov: optimizer === 'sgd',
        validation: toyData(30, { seed: 9 }),
      });
      if (result.validation?.kind !== 'single') throw new Error('expected single label');
      expect(result.validation.accuracy).toBeGreaterThan(0.9);
    }
  });

  it('trains a batch norm with a last batch of one, and names the trouble where one sample is all there is', async () => {
    const net = await network();
    expect(await net.fit(toyData(17), quick)).toMatchObject({ steps: 6 });
    await expect(net.fit(toyData(1), quick)).rejects.toMatchObject({ code: 'ERR_BATCH_NORM' });
    expect(net.busy).toBeNull();
    expect(await net.fit(toyData(5), { ...quick, batch: 64 })).toMatchObject({ steps: 3 });
  });

  it('keeps frozen tensors bit for bit, running statistics included, whatever the cache may hold', async () => {
    const train = async (cacheBytes: number): Promise<Record<string, number[]>> => {
      const net = await network();
      net.freeze();
      net.unfreeze('fc');
      const before = await weights(net);
      await net.fit(toyData(21), { ...quick, cacheBytes, weightDecay: 0.1 });
      const after = await weights(net);
      for (const name of net.frozen) expect(after[name]).toEqual(before[name]);
      expect(after['fc.weight']).not.toEqual(before['fc.weight']);
      return after;
    };
    const cached = await train(1e6);
    expect(await train(1000)).toEqual(cached);
    expect(await train(0)).toEqual(cached);
  });

  it('accumulates batches to nearly the update of one large batch', async () => {
    const train = async (batch: number, accumulate: number): Promise<Record<string, number[]>> => {
      const net = await network();
      net.freeze();
      net.unfreeze('fc');
      await net.fit(toyData(23), { ...quick, batch, accumulate, optimizer: 'sgd' });
      return weights(net);
    };
    const [small, large] = [await train(4, 3), await train(12, 1)];
    for (const [name, values] of Object.entries(small))
      values.forEach((v, i) => expect(v).toBeCloseTo(large[name]![i]!, 5));
  });

  it('stops at a loss that is not finite, with the weights of the step before', async () => {
    const net = await network();
    const good = toyData(24);
    const bad = (i: number): Sample => ({
      ...(good.get(i) as Sample),
      input: { tensors: { x: { data: new Float32Array(4).fill(NaN), shape: [4] } } },
    });
    const data = { length: 24, labels: LABELS, get: (i: number) => (i === 20 ? bad(i) : good.get(i)) };
    await expect(net.fit(data, { ...quick, seed: 5 })).rejects.toMatchObject({ code: 'ERR_LOSS_NOT_FINITE' });
    for (const values of Object.values(await weights(net))) expect(values.every(Number.isFinite)).toBe(true);
    expect(await net.fit(good, { ...quick, epochs: 1 })).toMatchObject({ reason: 'finished' });
  });

  it('predicts during a fit', async () => {
    const net = await network();
    const run = net.fit(toyData(64), { ...quick, epochs: 20 });
    const [best] = await net.predict({ x: { data: Float32Array.of(1, 0, 0, 0), shape: [4] } });
    expect(LABELS).toContain(best!.label);
    await run;
  });

  it('says where the time of steps, epochs and the run went', async () => {
    const net = await network();
    net.freeze('body.0');
    const begun = performance.now();
    let [steps, epochs] = [0, 0];
    for await (const event of net.fit(toyData(17), { ...quick, validation: toyData(5) })) {
      if (event.type === 'step') steps += Object.values(event.times).reduce((sum, ms) => sum + ms, 0);
      if (event.type === 'epoch') {
        const { other, ...parts } = event.times;
        const sum = Object.values(parts).reduce((sum, ms) => sum + ms, other);
        expect(sum / 1000).toBeCloseTo(event.seconds, 6);
        expect(Math.min(parts.step, parts.update, parts.validation)).toBeGreaterThan(0);
        epochs += sum;
      }
      if (event.type !== 'end') continue;
      const { reading, ...times } = event.result.times;
      expect(reading).toEqual({ read: 0, decode: 0, prepare: 0 }); // no pictures
      const all = Object.values(times).reduce((sum, ms) => sum + ms, 0);
      expect(all).toBeGreaterThanOrEqual(epochs);
      expect(all).toBeLessThanOrEqual(performance.now() - begun);
    }
    expect(steps).toBeGreaterThan(0);
    expect(steps).toBeLessThanOrEqual(epochs);
  });

  it('reads a stream, which has a constant schedule', async () => {
    const net = await network();
    const all = toyData(19);
    const stream = {
      labels: LABELS,
      async *[Symbol.asyncIterator]() {
        for (let i = 0; i < all.length; i++) yield all.get(i) as Sample;
      },
    };
    const { schedule: _, ...rest } = quick as FitOptions;
    const rates = new Set<number>();
    for await (const event of net.fit(stream, { ...rest, batch: 6 })) {
      if (event.type === 'step') rates.add(event.learningRate);
      if (event.type === 'end') expect(event.result).toMatchObject({ reason: 'finished', steps: 9 });
    }
    expect([...rates]).toEqual([quick.learningRate ?? 2e-3]);
    const refused = { code: 'ERR_OPTION', message: expect.stringMatching(/'constant'.* stream/) };
    await expect(net.fit(stream, { ...quick, schedule: 'cosine' })).rejects.toMatchObject(refused);
    await expect(net.fineTune(stream, { epochs: 1 })).rejects.toMatchObject(refused);
  });
});
