import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { FakeHub } from './server.js';

/** A hub, and an empty cache directory for each test, in the environment variables that clients read. */
export function useHub(): { hub: FakeHub; cache: string } {
  const used = {} as { hub: FakeHub; cache: string };
  const before = { ...process.env };
  beforeAll(async () => {
    used.hub = await FakeHub.start();
  });
  beforeEach(() => {
    used.hub.reset();
    used.cache = mkdtempSync(path.join(tmpdir(), 'thaw-hub-'));
    for (const name of Object.keys(process.env)) if (/^(HF_|HUGGINGFACE)/.test(name)) delete process.env[name];
    Object.assign(process.env, { HF_ENDPOINT: used.hub.endpoint, HF_HUB_CACHE: used.cache });
  });
  afterEach(() => rmSync(used.cache, { recursive: true, force: true }));
  afterAll(async () => {
    await used.hub.stop();
    process.env = before;
  });
  return used;
}
