import { describe, expect, it } from 'vitest';
import { constant } from '../../src/train/schedule.js';
import { fit } from '../../src/train/fit.js';
import type { FitEvent } from '../../src/train/events.js';
import { bits, toyData, toyNetwork } from './toy.js';

const quick = { epochs: 3, batch: 8, learningRate: 0.05, optimizer: 'sgd', schedule: constant(), seed: 4 } as const;

describe('fit', () => {
  it('learns, counts its steps and reports metrics', async () => {
    const { net } = await toyNetwork();
    const result = await net.fit(toyData(48), {
      ...quick,
      epochs: 30,
      learningRate: 0.2,
      validation: toyData(30, { seed: 9 }),
    });
    expect(result).toMatchObject({ reason: 'finished', steps: 30 * 6, weights: 'last' });
    expect(result.epochs).toHaveLength(30);
    expect(result.validation).toMatchObject({ kind: 'single', count: 30 });
    if (result.validation?.kind === 'single') expect(result.validation.accuracy).toBeGreaterThan(0.9);
    expect(result.train!.loss).toBeLessThan(result.epochs[0]!.train.loss / 2);
  });

  it('gives the same bits for the same seed, others for another', async () => {
    const train = async (seed: number): Promise<unknown> => {
      const { net, session } = await toyNetwork();
      await net.fit(toyData(20), { ...quick, seed });
      return bits(session);
    };
    expect(await train(1)).toEqual(await train(1));
    expect(await train(2)).not.toEqual(await train(1));
  });

  it('leaves frozen tensors bit for bit, and sends each sample once through the frozen part', async () => {
    const { net, session } = await toyNetwork();
    net.freeze();
    net.unfreeze('fc');
    const before = bits(session, 'body');
    const data = toyData(20);
    await net.fit(data, { ...quick, epochs: 4, weightDecay: 0.1, validation: toyData(6, { seed: 5 }) });
    expect(bits(session, 'body')).toEqual(before);
    expect(session.log.filter((line) => line.startsWith('embed'))).toEqual(['embed 20', 'embed 6']);
    // One read to learn the shapes (with what the loader reads ahead), one for the features, none for the epochs.
    expect(data.reads).toBeLessThanOrEqual(40);
    expect(session.caches.size).toBe(0);
  });

  it('trains to the same bits whatever the cache may hold', async () => {
    const train = async (cacheBytes: number, ids: boolean): Promise<{ bits: unknown; notes: string[] }> => {
      const { net, session } = await toyNetwork();
      net.freeze({ until: 'body.1' });
      const notes: string[] = [];
      for await (const event of net.fit(toyData(21, { ids }), { ...quick, cacheBytes })) {
        if (event.type === 'note') notes.push(event.message);
      }
      return { bits: bits(session), notes };
    };
    const cached = await train(1e6, true);
    const half = await train(10 * 5 * 4, true);
    expect(half.bits).toEqual(cached.bits);
    expect(half.notes.join()).toMatch(/do not all fit in cacheBytes \(200 bytes; 10 samples kept\)/);
    expect(cached.notes).toEqual([]);
    expect((await train(0, true)).bits).toEqual(cached.bits);
    expect((await train(1e6, false)).bits).toEqual(cached.bits);
  });

  it('reads inputs themselves where nothing lies below the cut', async () => {
    const { net, session } = await toyNetwork();
    await net.fit(toyData(16), quick);
    expect(session.log.filter((line) => line.startsWith('embed'))).toEqual([]);
  });

  it('joins a last batch of one to the batch before it, at once and when cached', async () => {
    for (const frozen of [true, false]) {
      const { net, session } = await toyNetwork();
      if (frozen) net.freeze({ until: 'body.1' });
      const result = await net.fit(toyData(17), { ...quick, epochs: 2 });
      expect(session.log.filter((line) => line.startsWith('step'))).toEqual(['step 8', 'step 9', 'step 8', 'step 9']);
      expect(result.steps).toBe(4);
    }
  });

  it('takes a batch larger than the data, a single sample, and batches of one', async () => {
    const steps = async (length: number, batch: number): Promise<string[]> => {
      const { net, session } = await toyNetwork();
      await net.fit(toyData(length), { ...quick, epochs: 1, batch });
      return session.log.filter((line) => line.startsWith('step'));
    };
    expect(await steps(5, 64)).toEqual(['step 5']);
    expect(await steps(1, 8)).toEqual(['step 1']);
    expect(await steps(3, 1)).toEqual(['step 1', 'step 1', 'step 1']);
  });

  it('accumulates batches to the update of one batch of them all', async () => {
    const train = async (batch: number, accumulate: number): Promise<Record<string, number[]>> => {
      const { net, session } = await toyNetwork();
      const result = await net.fit(toyData(23), { ...quick, batch, accumulate });
      expect(result.steps).toBe(3 * 2);
      return bits(session);
    };
    const [small, large] = [await train(4, 3), await train(12, 1)];
    for (const [name, values] of Object.entries(small))
      values.forEach((v, i) => expect(v).toBeCloseTo(large[name]![i]!, 5));
  });

  it('tells of start, steps, epochs and end, and coalesces steps that nobody reads', async () => {
    const { net } = await toyNetwork();
    const events: FitEvent[] = [];
    const run = net.fit(toyData(64), { ...quick, epochs: 2, batch: 2 });
    await new Promise((resolve) => setTimeout(resolve, 50));
    for await (const event of run) events.push(event);
    const types = events.map(({ type }) => type);
    expect(types[0]).toBe('start');
    expect(types.at(-1)).toBe('end');
    expect(types.filter((type) => type === 'epoch')).toHaveLength(2);
    const steps = events.filter((event) => event.type === 'step');
    expect(steps.length).toBeLessThan(64);
    expect(steps.reduce((sum, event) => sum + event.steps, 0)).toBe(64);
  });

  it('waits at epoch events while it is iterated, where marks may change; elsewhere they may not', async () => {
    const { net, session } = await toyNetwork();
    net.freeze({ until: 'body.1' });
    const body = bits(session, 'body.1');
    const run = net.fit(toyData(16), { ...quick, epochs: 2 });
    expect(() => net.unfreeze()).toThrow(/ERR_NETWORK_BUSY|cannot/);
    expect(() => net.fit(toyData(4))).toThrow(/cannot start fit/);
    for await (const event of run) {
      if (event.type !== 'epoch') continue;
      const steps = session.log.length;
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(session.log.length).toBe(steps);
      if (event.epoch === 1) {
        expect(bits(session, 'body.1')).toEqual(body);
        net.unfreeze('body.1');
      }
    }
    expect(bits(session, 'body.1')).not.toEqual(body);
    net.freeze();
  });

  it('stops after the current step when its loop is left, and frees the network', async () => {
    const { net, session } = await toyNetwork();
    for await (const event of net.fit(toyData(64), { ...quick, epochs: 50 })) if (event.type === 'step') break;
    const steps = session.log.length;
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(session.log.length).toBe(steps);
    expect(net.busy).toBeNull();
    expect(session.caches.size).toBe(0);
    expect(await net.fit(toyData(8), { ...quick, epochs: 1 })).toMatchObject({ reason: 'finished' });
  });

  it('ends with its signal, before or during the run', async () => {
    const { net, session } = await toyNetwork();
    const early = await net.fit(toyData(64), { ...quick, signal: AbortSignal.abort() });
    expect(early).toMatchObject({ reason: 'aborted', steps: 0 });
    const controller = new AbortController();
    session.before = (command) => {
      if (command === 'run' && session.log.length === 7) controller.abort();
    };
    const late = await net.fit(toyData(64), { ...quick, signal: controller.signal });
    expect(late).toMatchObject({ reason: 'aborted', steps: 8 });
    expect(net.busy).toBeNull();
  });

  it('gives a failure to the reader, or else to the awaiter', async () => {
    const { net, session } = await toyNetwork();
    session.before = (command) => {
      if (command === 'run') throw new Error('broken');
    };
    await expect(net.fit(toyData(8), quick)).rejects.toThrow('broken');
    const read = async (): Promise<void> => {
      for await (const event of net.fit(toyData(8), quick)) expect(event.type).toBe('start');
    };
    await expect(read()).rejects.toThrow('broken');
    expect(net.busy).toBeNull();
  });

  it('stops at a loss that is not finite with the weights of the step before', async () => {
    const { net, session } = await toyNetwork();
    let before: unknown;
    session.before = (command, request) => {
      const plan = session.plans.get(request.plan);
      if (command !== 'run' || plan?.mode !== 'step') return;
      before = bits(session);
      if (session.log.length === 5) request.lossScale = 1;
    };
    const data = toyData(24);
    const run = net.fit(
      { ...data, length: 24, get: (i) => (i === 20 ? poisoned(data.get(i) as never) : data.get(i)) },
      quick,
    );
    await expect(run).rejects.toMatchObject({
      code: 'ERR_LOSS_NOT_FINITE',
      message: expect.stringMatching(/epoch 1, step \d/),
    });
    expect(bits(session)).toEqual(before);
  });

  it('refuses to train nothing, unknown options and wrong values', async () => {
    const { net } = await toyNetwork();
    const code = (options: object): Promise<unknown> =>
      net.fit(toyData(8), options).then(
        () => 'none',
        (e: unknown) => (e as { code: string }).code,
      );
    expect(await code({ epoch: 3 })).toBe('ERR_OPTION');
    expect(await code({ epochs: 0 })).toBe('ERR_OPTION');
    expect(await code({ learningRate: -1 })).toBe('ERR_OPTION');
    expect(await code({ schedule: 'fast' })).toBe('ERR_OPTION');
    expect(await code({ earlyStopping: true })).toBe('ERR_OPTION');
    expect(await code({ resume: true })).toBe('ERR_OPTION');
    expect(await code({ classWeights: [1, 2] })).toBe('ERR_OPTION');
    net.freeze();
    expect(await code({})).toBe('ERR_NOTHING_TRAINABLE');
    expect(
      await fit(net, { ...toyData(4), length: 0 }, quick).catch((e: unknown) => (e as { code: string }).code),
    ).toBe('ERR_DATA');
    expect(net.busy).toBeNull();
  });

  it('stops early, keeps the best weights, and says which', async () => {
    const { net, session } = await toyNetwork();
    const seen: unknown[] = [];
    let epoch = 0;
    const wanted = [3, 2, 1, 1.5, 1.4, 1.3, 9];
    const options = {
      ...quick,
      epochs: 20,
      validation: toyData(6, { seed: 5 }),
      metrics: { mine: () => (seen.push(bits(session)), -wanted[epoch++]!) },
      earlyStopping: { metric: 'mine', patience: 3 },
    };
    const result = await net.fit(toyData(16), options);
    expect(result).toMatchObject({
      reason: 'earlyStopping',
      weights: 'best',
      best: { epoch: 3, metric: 'mine', value: -1 },
    });
    expect(result.epochs).toHaveLength(6);
    expect(bits(session)).toEqual(seen[2]);
    expect([...session.tensors.keys()].some((name) => name.startsWith('best/'))).toBe(false);
  });

  it('weighs classes, pulls towards the loaded weights, and spares biases on request', async () => {
    const { net, session } = await toyNetwork();
    const updates: Record<string, any>[] = [];
    session.before = (_, request) => void (request.update && updates.push(request.update));
    const data = { ...toyData(9), get: toyData(9).get };
    await net.fit(data, {
      ...quick,
      epochs: 1,
      classWeights: 'balanced',
      l2sp: true,
      decayNorms: false,
      weightDecay: 0.5,
    });
    expect(updates[0]).toMatchObject({
      weightDecay: 0.5,
      l2sp: { towards: 'origin/' },
      decays: { 'fc.bias': 0, 'body.0.bias': 0 },
    });
    expect(updates[0]!.decays['fc.weight']).toBeUndefined();
    expect(session.tensors.get('origin/fc.weight')!.data.every((v) => v === 0)).toBe(true);
    expect(session.tensors.get('origin/body.0.weight')!.data.some((v) => v !== 0)).toBe(true);
  });
});

function poisoned(sample: { input: { tensors: { x: { data: Float32Array; shape: number[] } } } }): never {
  const x = { data: new Float32Array(4).fill(NaN), shape: [4] };
  return { ...sample, input: { tensors: { x } } } as never;
}
