/** The event loop is free: what native calls take of the main thread while a large network loads, learns and predicts. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { spawnSync } from 'node:child_process';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';

const folder = mkdtempSync(path.join(tmpdir(), 'thaw-event-loop-'));
afterAll(() => rmSync(folder, { recursive: true }));
const dist = (name: string) =>
  JSON.stringify(pathToFileURL(path.resolve(import.meta.dirname, '../../dist', name)).href);

/** In a process of its own, since the longest call is remembered for the life of a process. */
const SCRIPT = `
import { create, fromPictures, load } from ${dist('index.js')};
import { coreInfo } from ${dist('native.js')};
const file = ${JSON.stringify(path.join(folder, 'resnet18.safetensors'))};
const longest = {};
const note = (phase) => { longest[phase] = coreInfo().longestCallMs; };
const fresh = await create('resnet18');
note('create');
await fresh.save(file);
fresh.dispose();
note('save');
const net = await load(file);
note('load');
net.freeze();
net.replaceHead({ labels: ['a', 'b'] });
const pictures = fromPictures(Array.from({ length: 6 }, (_, i) => ({
  picture: { data: Uint8Array.from({ length: 240 * 260 * 3 }, (_, p) => p * (i + 1)), width: 260, height: 240, channels: 3 },
  target: i % 2, name: 'p' + i,
})), { labels: ['a', 'b'] });
await net.fit(pictures, { epochs: 2, batch: 3 });
net.unfreeze({ from: 'layer4' });
await net.fit(pictures, { epochs: 1, batch: 3, augment: true });
note('fit');
await net.predict(pictures);
note('predict');
await net.tensor('layer4.1.conv2.weight');
note('tensor');
net.dispose();
note('dispose');
console.log(JSON.stringify(longest));
`;

describe('native entry points', () => {
  it('never hold the main thread for 5 ms with ResNet-18', { timeout: 300_000 }, () => {
    const run = spawnSync(process.execPath, ['--input-type=module', '-e', SCRIPT], { encoding: 'utf8' });
    expect([run.status, run.stderr]).toEqual([0, '']);
    const longest = JSON.parse(run.stdout) as Record<string, number>;
    console.log('longest native call so far, ms of processor time:', longest);
    for (const phase of ['load', 'fit', 'predict', 'dispose']) expect(longest[phase]).toBeLessThan(5);
  });
});
