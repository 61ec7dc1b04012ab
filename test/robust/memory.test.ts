/** What thaw takes it gives back: fits and disposals by the thousand. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';

const index = pathToFileURL(path.resolve(import.meta.dirname, '../../dist/index.js')).href;
const MiB = 1024 ** 2;

/**
 * A network of two layers learns once from eight samples and is disposed of, again and again; prints memory on the way.
 * The first thousand lets JavaScript's heap and the allocator reach their size; the second must add nothing.
 */
const SCRIPT = `
import { fromArrays, fromGraph, GraphBuilder } from ${JSON.stringify(index)};
const g = new GraphBuilder();
let x = g.input('image', 'f32', ['N', 3, 'H', 'W']);
x = g.globalAveragePool('pool', g.relu('relu', g.conv2d('conv', x, { in: 3, out: 8, kernel: 3, padding: 1 })));
const graph = g.build([g.linear('fc', g.flatten('flat', x), { in: 8, out: 2 })]);
const data = Float32Array.from({ length: 8 * 3 * 32 * 32 }, (_, i) => Math.sin(i * 0.7));
const samples = fromArrays({ data, shape: [8, 3, 32, 32] }, Int32Array.from({ length: 8 }, (_, i) => i % 2), { labels: ['a', 'b'] });
const memory = [];
for (let i = 1; i <= 2000; i++) {
  const net = await fromGraph(graph, { labels: ['a', 'b'] });
  if (i % 2) net.freeze('conv');
  await net.fit(samples, { epochs: 1, batch: 4 });
  net.dispose();
  if (i % 100) continue;
  // The memory behind array buffers is given back after a collection, elsewhere.
  for (let j = 0; j < 3; j++) { globalThis.gc(); await new Promise((resolve) => setTimeout(resolve, 5)); }
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
  memory.push({ rss, heapUsed, arrayBuffers });
}
console.log(JSON.stringify(memory));
`;

describe('1,000 fits and disposals of a small network', () => {
  it('leave memory flat', { timeout: 300_000 }, () => {
    const args = ['--expose-gc', '--input-type=module', '-e', SCRIPT];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    expect([status, stderr]).toEqual([0, '']);
    const memory = JSON.parse(stdout) as { rss: number; heapUsed: number; arrayBuffers: number }[];
    const [early, late] = [memory[9]!, memory[19]!];
    console.log(`after 1,000: ${(early.rss / MiB).toFixed(1)} MiB, after 2,000: ${(late.rss / MiB).toFixed(1)} MiB`);
    // One tensor of data that stayed behind in a thousand of them would be 96 MB.
    expect(late.rss - early.rss).toBeLessThan(8 * MiB);
    expect(late.heapUsed - early.heapUsed).toBeLessThan(2 * MiB);
    expect(late.arrayBuffers - early.arrayBuffers).toBeLessThan(MiB);
  });
});
