/** A run that is killed at any command and goes on from its checkpoint ends with the bits of one that was not. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FitEvent, FitResult } from '../../src/train/events.js';
import type { FineTuneOptions } from '../../src/train/fine-tune.js';
import type { FitRun } from '../../src/train/run.js';
import type { Network } from '../../src/network/network.js';
import { oneCycle } from '../../src/train/schedule.js';
import { bits, noise, toyData, toyNetwork } from './toy.js';
import type { FakeSession } from './fake-session.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'thaw-resume-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const validation = toyData(7, { seed: 5 });
const common = { batch: 4, seed: 6, optimizer: 'sgd', validation, keepBest: true } as const;

type Start = (net: Network, options: FineTuneOptions) => FitRun;
const recipes: Record<
  string,
  { start: Start; options: FineTuneOptions; marks?: (net: Network, event: FitEvent) => void }
> = {
  'fit with a frozen body': {
    start: (net, options) => {
      net.freeze({ until: 'body.1' });
      return net.fit(toyData(19), { ...options, schedule: oneCycle() });
    },
    options: { epochs: 3 },
  },
  'fit with accumulation, clipping and decay towards the origin': {
    start: (net, options) => net.fit(toyData(18), options),
    options: { epochs: 5, accumulate: 2, clipNorm: 1, l2sp: true, weightDecay: 0.1 },
  },
  'fineTune through both phases': {
    start: (net, options) => net.fineTune(toyData(15), options),
    options: { epochs: 2, freezeEpochs: 2, baseLearningRate: 0.1, earlyStopping: { patience: 3 } },
  },
  'fit with cached variants': {
    start: (net, options) => {
      net.freeze({ until: 'body.0' });
      return net.fit(toyData(13), options);
    },
    options: { epochs: 4, augment: true, variants: 2 },
  },
  'fit whose reader changes marks between epochs': {
    start: (net, options) => {
      net.freeze({ until: 'body.1' });
      return net.fit(toyData(12), options);
    },
    options: { epochs: 3 },
    marks: (net, event) => {
      if (event.type === 'epoch' && event.epoch === 1) net.unfreeze('body.1');
      if (event.type === 'epoch' && event.epoch === 2) net.freeze('fc.bias');
    },
  },
};

interface Ended {
  bits: unknown;
  result: FitResult;
}

/** One process: a network from its file, a run that goes on if it can. Killed at command number `kill`. */
async function life(name: string, file: string, every: 'epoch' | number, kill = Infinity): Promise<Ended | null> {
  const { start, options, marks } = recipes[name]!;
  const { net, session } = await toyNetwork();
  let commands = 0;
  session.before = () => {
    if (++commands >= kill) throw new Error('killed');
  };
  const checkpoint = { path: file, every };
  const run = start(net, { ...common, ...options, checkpoint, resume: true });
  try {
    if (marks) for await (const event of run) marks(net, event);
    const result = await run;
    return { bits: state(session), result };
  } catch (error) {
    if ((error as Error).message !== 'killed') throw error;
    return null;
  }
}

/** Weights, and the optimizer's state with them. */
function state(session: FakeSession): unknown {
  const optimizer = [...session.tensors].filter(([name]) => name.startsWith('optimizer/'));
  return { ...bits(session), ...Object.fromEntries(optimizer.sort().map(([name, { data }]) => [name, [...data]])) };
}

const told = ({ result }: Ended): unknown => ({
  ...result,
  seconds: 0,
  times: null,
  epochs: result.epochs.map((event) => ({ ...event, seconds: 0, times: null })),
});

describe('resume', () => {
  it('refuses a network whose frozen weights are others, and leaves it as it is', async () => {
    const file = path.join(folder, 'base.safetensors');
    const start = recipes['fit with a frozen body']!.start;
    const options = { ...common, keepBest: false, checkpoint: file };
    const { net } = await toyNetwork();
    await start(net, { ...options, epochs: 1 });
    const other = await toyNetwork();
    const weight = other.session.tensors.get('body.0.weight')!;
    weight.data[3]! += 1e-6;
    const before = bits(other.session);
    const refused = start(other.net, { ...options, epochs: 2, resume: file });
    await expect(refused).rejects.toMatchObject({ code: 'ERR_RESUME', message: expect.stringMatching(/weights/) });
    expect(bits(other.session)).toEqual(before);
    const same = await toyNetwork();
    expect(await start(same.net, { ...options, epochs: 2, resume: file })).toMatchObject({ steps: 10 });
  });

  const draw = noise(77);
  for (const name of Object.keys(recipes)) {
    it(`${name}: killed again and again, same final bits`, async () => {
      const whole = (await life(name, path.join(folder, 'whole.safetensors'), 3))!;
      await rm(path.join(folder, 'whole.safetensors'));
      for (const every of ['epoch', 1, 3] as const) {
        const file = path.join(folder, `${name.replaceAll(' ', '-')}-${every}.safetensors`);
        let ended: Ended | null = null;
        let kills = 0;
        // Each life lasts a little longer, so that every run comes to its end.
        for (; !ended; kills++) ended = await life(name, file, every, 12 + kills + Math.floor((draw() + 1) * 5));
        expect(kills).toBeGreaterThan(2);
        expect(ended.bits).toEqual(whole.bits);
        expect(told(ended)).toEqual(told(whole));
        // Resuming what has ended changes nothing more.
        expect((await life(name, file, every))!.bits).toEqual(whole.bits);
      }
    });
  }

  it('goes on from a run that was stopped by its signal, with the marks of then', async () => {
    const file = path.join(folder, 'stopped.safetensors');
    const plain = { ...common, keepBest: false, epochs: 3 };
    const whole = await toyNetwork();
    whole.net.freeze('body.0');
    await whole.net.fit(toyData(16), plain);

    const first = await toyNetwork();
    first.net.freeze('body.0');
    const controller = new AbortController();
    first.session.before = () =>
      void (first.session.log.filter((line) => line.startsWith('step')).length === 6 && controller.abort());
    const stopped = await first.net.fit(toyData(16), { ...plain, checkpoint: file, signal: controller.signal });
    expect(stopped).toMatchObject({ reason: 'aborted' });

    const second = await toyNetwork();
    const result = await second.net.fit(toyData(16), { ...plain, checkpoint: file, resume: file });
    expect(result.reason).toBe('finished');
    expect(second.net.trainable).not.toContain('body.0.weight');
    expect(bits(second.session)).toEqual(bits(whole.session));
  });

  it('trains on where the number of epochs has grown', async () => {
    const file = path.join(folder, 'longer.safetensors');
    const { net } = await toyNetwork();
    await net.fit(toyData(16), { ...common, keepBest: false, epochs: 1, checkpoint: file });
    const again = await toyNetwork();
    const notes: string[] = [];
    const run = again.net.fit(toyData(16), { ...common, keepBest: false, epochs: 3, resume: file });
    for await (const event of run) if (event.type === 'note') notes.push(event.message);
    expect((await run).epochs.map(({ epoch }) => epoch)).toEqual([1, 2, 3]);
    expect(notes).toEqual([expect.stringMatching(/number of epochs/)]);
  });

  it('refuses other data, options, labels and files', async () => {
    const file = path.join(folder, 'other.safetensors');
    const options = { ...common, epochs: 1, checkpoint: file };
    const { net } = await toyNetwork();
    await net.fit(toyData(16), options);
    const message = async (data: number, more: object, outputs = 3): Promise<string> => {
      const other = await toyNetwork({ outputs });
      const resumed = other.net.fit(
        { ...toyData(data), ...(outputs < 3 && { labels: ['cucumber', 'zucchini'] }) },
        { ...options, ...more },
      );
      const error = (await resumed.catch((e: unknown) => e)) as { code: string; message: string };
      return `${error.code} ${error.message}`;
    };
    expect(await message(17, { resume: file })).toMatch(/^ERR_RESUME expected the training data/);
    expect(await message(16, { resume: file, batch: 5 })).toMatch(
      /^ERR_RESUME expected option 'batch' 4 .* received 5$/,
    );
    expect(await message(16, { resume: path.join(folder, 'none') })).toMatch(/^ERR_FILE_NOT_FOUND/);
    expect(await message(16, { resume: file, validation: undefined, keepBest: false }, 2)).toMatch(
      /^ERR_(RESUME|LABELS)/,
    );
  });
});
