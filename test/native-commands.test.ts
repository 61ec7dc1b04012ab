import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { coreInfo, createSession } from '../src/native.js';
import { folder, open, put, get, initialise, longJob } from './native-helpers.js';

describe('the feature cache', () => {
  it('is made, asked and released', async () => {
    const session = open();
    const { cache } = (await session.submit('cache', { action: 'create', limitBytes: 1000 })).reply;
    expect((await session.submit('cache', { action: 'has', cache, keys: ['a', 'b'] })).reply).toMatchObject({
      has: [false, false],
    });
    expect((await session.submit('cache', { action: 'info', cache })).reply).toMatchObject({
      entries: 0,
      bytes: 0,
      limitBytes: 1000,
      full: false,
    });
    await session.submit('cache', { action: 'release', cache });
    await expect(session.submit('cache', { action: 'clear', cache })).rejects.toMatchObject({ code: 'ERR_CACHE' });
  });
});

describe('commands', () => {
  it('refuse wrong arguments with a code', async () => {
    const session = open();
    const submit = session.submit.bind(session) as unknown as (...args: unknown[]) => Promise<unknown>;
    for (const args of [
      [],
      [1, {}],
      ['list'],
      ['list', null],
      ['list', 'x'],
      ['list', {}, 1],
      ['list', {}, [1]],
      ['list', {}, [new ArrayBuffer(1)]],
      ['list', {}, [null]],
    ]) {
      await expect(submit(...args)).rejects.toMatchObject({ code: 'ERR_ARGUMENT' });
    }
    await expect(submit('nonsense', {})).rejects.toMatchObject({ code: 'ERR_COMMAND' });
    await expect(submit('get', {})).rejects.toMatchObject({ code: 'ERR_JSON' });
    await expect(submit('get', { names: 'x' })).rejects.toMatchObject({ code: 'ERR_JSON' });
    await expect(submit('get', { names: ['x'] })).rejects.toThrow(
      "expected a tensor of the network for 'x', received an unknown name",
    );
    await expect(
      submit('put', { tensors: [{ name: 'x', dtype: 'F32', shape: [2] }] }, [new Uint8Array(7)]),
    ).rejects.toMatchObject({ code: 'ERR_SHAPE' });
    const strided = { name: 'x', dtype: 'U8' as const, shape: [2, 3] };
    for (const strides of [[1], [1, -2], [1, 3], [2 ** 50, 2 ** 50]])
      await expect(submit('put', { tensors: [{ ...strided, strides }] }, [new Uint8Array(6)])).rejects.toMatchObject({
        code: 'ERR_SHAPE',
      });
    await expect(submit('put', { tensors: [] }, [new Uint8Array(7)])).rejects.toMatchObject({ code: 'ERR_ARGUMENT' });
    expect(() => createSession({ threads: -1 })).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));
    expect(() => createSession({ threads: 1.5 })).toThrow(TypeError);
    expect(() => createSession({ threads: 'x' as unknown as number })).toThrow(TypeError);
  });

  it('bring strided tensors into order', async () => {
    const session = open();
    const tensor = { name: 'x', dtype: 'I16' as const, shape: [3, 2], strides: [1, 3] };
    await session.submit('put', { tensors: [tensor] }, [Int16Array.of(1, 2, 3, 4, 5, 6)]);
    const { buffers } = await session.submit('get', { names: ['x'] });
    expect([...new Int16Array(buffers[0]!)]).toEqual([1, 4, 2, 5, 3, 6]);
  });

  it('run in the order of submission', async () => {
    const session = open();
    const path = join(folder, 'order');
    const order: string[] = [];
    const done = [
      put(session, 'x', 'U8', [1], Uint8Array.of(5)).then(() => order.push('put')),
      session.submit('write', { path, tensors: ['x'] }, [new Uint8Array(0)]).then(() => order.push('write')),
      put(session, 'x', 'U8', [1], Uint8Array.of(6)).then(() => order.push('put')),
      session
        .submit('read', { path, tensors: [{ name: 'y', dtype: 'U8', shape: [1], offset: 0 }] })
        .then(() => order.push('read')),
      get(session, 'y').then(({ buffer }) => order.push(String(new Uint8Array(buffer)[0]))),
    ];
    await Promise.all(done);
    expect(order).toEqual(['put', 'write', 'put', 'read', '5']);
  });

  it('take turns between sessions', async () => {
    const [busy, other] = [open(), open()];
    let finished = 0;
    const many = Array.from({ length: 10 }, () =>
      initialise(busy, 'x', [1 << 20], { kind: 'normal', std: 1 }).then(() => finished++),
    );
    await put(other, 'x', 'U8', [1], Uint8Array.of(1));
    expect(finished).toBeLessThan(5);
    await Promise.all(many);
  });

  it('stop when aborted: queued, running, before and after', async () => {
    const session = open();
    const [running, queued, late] = [new AbortController(), new AbortController(), new AbortController()];
    const long = longJob(session, running.signal);
    const waiting = session.submit('list', {}, [], { signal: queued.signal });
    const last = session.submit('list', {}, [], { signal: late.signal });
    queued.abort(new Error('why'));
    await expect(waiting).rejects.toMatchObject({ name: 'ThawError', code: 'ERR_ABORTED', cause: new Error('why') });
    const begin = performance.now();
    setTimeout(() => running.abort(), 20);
    await expect(long).rejects.toMatchObject({ code: 'ERR_ABORTED' });
    expect(performance.now() - begin).toBeLessThan(1000);
    await last;
    late.abort();
    await expect(session.submit('list', {}, [], { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ERR_ABORTED',
    });
  });

  it('stop when the session is disposed', async () => {
    const session = open();
    const jobs = [longJob(session), session.submit('list', {}), longJob(session)];
    const outcomes = Promise.allSettled(jobs);
    await new Promise((resolve) => setTimeout(resolve, 20));
    session.dispose();
    for (const outcome of await outcomes)
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'ERR_ABORTED' } });
    await expect(session.submit('list', {})).rejects.toMatchObject({ code: 'ERR_DISPOSED' });
  });

  it('hold the main thread for less than 5 ms', async () => {
    const session = open();
    const data = new Float32Array(4 << 20);
    await put(session, 'big', 'F32', [data.length], data);
    await get(session, 'big');
    session.dispose();
    const info = coreInfo();
    expect(info.longestCallMs).toBeLessThan(5);
    expect(info.isas).toContain(info.isa);
    expect(info.isas.at(-1)).toBe('scalar');
    expect(info.threads).toBeGreaterThanOrEqual(1);
  });
});
