import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach } from 'vitest';
import { createSession } from '../src/native.js';
import type { NativeSession, StorageDType } from '../src/native.js';

export const folder = mkdtempSync(join(tmpdir(), 'thaw-native-'));
export const sessions: NativeSession[] = [];

export function open(options: { threads?: number } = {}): NativeSession {
  const session = createSession(options);
  sessions.push(session);
  return session;
}

afterEach(() => sessions.splice(0).forEach((session) => session.dispose()));
afterAll(() => rmSync(folder, { recursive: true }));

export function put(session: NativeSession, name: string, dtype: StorageDType, shape: number[], data: ArrayBufferView) {
  return session.submit('put', { tensors: [{ name, dtype, shape }] }, [data]);
}

export async function get(session: NativeSession, name: string, as: 'loaded' | 'f32' = 'loaded') {
  const { reply, buffers } = await session.submit('get', { names: [name], as });
  return { ...reply.tensors[0]!, buffer: buffers[0]! };
}

export const f32 = async (session: NativeSession, name: string) => [
  ...new Float32Array((await get(session, name, 'f32')).buffer),
];
export const initialise = (session: NativeSession, name: string, shape: number[], init: object, seed = 1) =>
  session.submit('initialise', { tensors: [{ name, dtype: 'F32', shape, init }], seed } as object);

/** Seconds of work in one command, in little memory. */
export function longJob(session: NativeSession, signal?: AbortSignal) {
  const tensor = { name: 'long', dtype: 'F32', shape: [1 << 20], init: { kind: 'normal', std: 1 } };
  return session.submit(
    'initialise',
    { tensors: Array(2000).fill(tensor), seed: 1 } as object,
    [],
    signal ? { signal } : {},
  );
}
