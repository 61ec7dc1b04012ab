import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { besideModel } from '../../src/formats/inside.js';
import { temporaryFolder } from '../python.js';

const folder = temporaryFolder();
const at = (...parts: string[]): string => path.join(folder.path, ...parts);
afterAll(folder.remove);

// As in the hub's cache: contents in one folder, and links with their names in another.
beforeAll(() => {
  for (const name of ['blobs', 'snapshot/sub', 'elsewhere']) mkdirSync(at(name), { recursive: true });
  for (const name of ['blobs/1', 'blobs/2', 'elsewhere/secret', 'outside']) writeFileSync(at(name), name);
  symlinkSync('../blobs/1', at('snapshot', 'model.json'));
  symlinkSync('../blobs/2', at('snapshot', 'shard.bin'));
  symlinkSync('../../blobs/2', at('snapshot', 'sub', 'shard.bin'));
  symlinkSync('../elsewhere/secret', at('snapshot', 'secret'));
});

it.each(['shard.bin', 'sub/shard.bin'])('a link beside a link, both into one folder: %s', async (name) => {
  expect(await besideModel(at('snapshot', 'model.json'), name)).toBe(at('blobs', '2'));
});

it.each(['secret', '../blobs/2', '../outside', 'sub/../../blobs/2'])('outside of both folders: %s', async (name) => {
  await expect(besideModel(at('snapshot', 'model.json'), name)).rejects.toMatchObject({ code: 'ERR_PATH_OUTSIDE' });
});
