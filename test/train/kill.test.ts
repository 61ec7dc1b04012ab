/** Processes killed with `kill -9` at any moment go on from their checkpoints to the bits of one that lived. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compiledPackage } from '../compiled.js';

const folder = mkdtempSync(path.join(tmpdir(), 'thaw-kill-'));
const KILLS = 10;

beforeAll(() => {
  compiledPackage(folder);
  writeFileSync(path.join(folder, 'child.mjs'), CHILD);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Trains a small convolutional network on drawn pictures; prints a line when it begins and the digest of its weights at the end. */
const CHILD = `
import { createHash } from 'node:crypto';
import { fromGraph, GraphBuilder } from './dist/index.js';
import { fromPictures } from './dist/data/dataset.js';
const [recipe, checkpoint] = process.argv.slice(2);
const g = new GraphBuilder();
let x = g.input('image', 'f32', ['N', 3, 'H', 'W']);
for (const [i, width] of [8, 12].entries()) {
  x = g.conv2d('body.' + i + '.conv', x, { in: i ? 8 : 3, out: width, kernel: 3, padding: 1, bias: false });
  x = g.relu('body.' + i + '.relu', g.batchNorm('body.' + i + '.bn', x, width));
}
x = g.dropout('drop', g.flatten('flat', g.globalAveragePool('pool', x)));
const graph = g.build([g.linear('fc', x, { in: 12, out: 3 })]);
const preprocessing = { resize: 12, crop: 12, interpolation: 'bilinear', mean: [0.5, 0.5, 0.5], std: [0.3, 0.3, 0.3], channels: 3 };
const net = await fromGraph(graph, { labels: ['a', 'b', 'c'], seed: 5, preprocessing, layers: ['body.0', 'body.1', 'fc'] });
let state = 1;
const draw = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 24;
const pictures = (n) => fromPictures(Array.from({ length: n }, (_, i) => {
  const data = Uint8Array.from({ length: 16 * 14 * 3 }, (_, p) => (draw() + (p % 3 === i % 3 ? 90 : 0)) / 2);
  return { picture: { data, width: 16, height: 14, channels: 3 }, target: i % 3, name: 'p' + i };
}), { labels: ['a', 'b', 'c'] });
const train = pictures(41);
const common = { batch: 8, seed: 11, validation: pictures(9), keepBest: true, checkpoint: { path: checkpoint, every: 1 }, resume: true };
console.log('begun');
const recipes = {
  fineTune: () => net.fineTune(train, { ...common, epochs: 22, freezeEpochs: 12, augment: true }),
  variants: () => {
    net.freeze({ until: 'body.0' });
    return net.fit(train, { ...common, epochs: 34, augment: true, variants: 3, optimizer: 'sgd', learningRate: 0.05, clipNorm: 5 });
  },
};
const result = await recipes[recipe]();
const hash = createHash('sha256');
for (const { name } of net.parameters()) hash.update(new Uint8Array((await net.tensor(name)).data.buffer));
console.log(JSON.stringify({ digest: hash.digest('hex'), steps: result.steps, epochs: result.epochs.length, best: result.best }));
`;

/** The last line of the child's output; null where it was killed. */
function life(recipe: string, checkpoint: string, killAfter?: number): Promise<string | null> {
  const child = spawn(process.execPath, ['child.mjs', recipe, checkpoint], { cwd: folder });
  let [out, error] = ['', ''];
  child.stdout.on('data', (data) => {
    if (out === '' && killAfter !== undefined) setTimeout(() => child.kill('SIGKILL'), killAfter);
    out += data;
  });
  child.stderr.on('data', (data) => (error += data));
  return new Promise((resolve, reject) =>
    child.on('close', (code, signal) => {
      if (signal === 'SIGKILL') resolve(null);
      else if (code === 0) resolve(out.trim().split('\n').at(-1)!);
      else reject(new Error(`exit ${code} ${signal}: ${error}`));
    }),
  );
}

describe('kill -9 and resume', () => {
  for (const recipe of ['fineTune', 'variants']) {
    it(`${recipe}: the same final bits`, { timeout: 240_000 }, async () => {
      const begun = performance.now();
      const whole = await life(recipe, path.join(folder, `${recipe}-whole.safetensors`));
      const lasted = performance.now() - begun;
      const file = path.join(folder, `${recipe}.safetensors`);
      let ended: string | null = null;
      let kills = 0;
      while (ended === null) {
        // Moments spread over what a life has time for; in the end one is let live.
        const after = kills < KILLS ? 20 + (Math.random() * lasted) / 7 : undefined;
        ended = await life(recipe, file, after);
        if (ended === null) kills++;
      }
      expect(kills).toBeGreaterThanOrEqual(5);
      expect(ended).toBe(whole);
      console.log(`${recipe}: ${kills} kills, ${ended}`);
    });
  }
});
