/** Old processors, emulated by qemu-user: the binary loads there, picks what they have, and gives the bits it gives here. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';

const root = path.resolve(import.meta.dirname, '..');
const folder = mkdtempSync(path.join(tmpdir(), 'thaw-processors-'));
afterAll(() => rmSync(folder, { recursive: true }));

const module = (name: string) => JSON.stringify(pathToFileURL(path.join(root, 'dist', name)).href);

/** Predicts and takes three training steps with a small network that has every kind of layer that matters. */
const SCRIPT = `
import { createHash } from 'node:crypto';
import { fromGraph, GraphBuilder } from ${module('index.js')};
import { coreInfo } from ${module('native.js')};
const g = new GraphBuilder();
let x = g.input('image', 'f32', ['N', 3, 'H', 'W']);
x = g.relu('relu', g.batchNorm('bn', g.conv2d('conv', x, { in: 3, out: 18, kernel: 3, padding: 1, bias: false }), 18));
x = g.maxPool('pool', g.conv2d('depthwise', x, { in: 18, out: 18, kernel: 3, padding: 1, groups: 18 }), { kernel: 2 });
const graph = g.build([g.linear('fc', g.flatten('flat', g.globalAveragePool('gap', x)), { in: 18, out: 3 })]);
const net = await fromGraph(graph, { labels: ['a', 'b', 'c'], seed: 5, threads: 2 });
const image = { data: Float32Array.from({ length: 4 * 3 * 11 * 11 }, (_, i) => Math.sin(i * 0.7)), shape: [4, 3, 11, 11] };
const batch = { image, target: { data: Int32Array.of(0, 1, 2, 1), shape: [4] } };
const update = { optimizer: 'sgd', learningRate: 0.05, momentum: 0.9 };
const hash = createHash('sha256');
const losses = [];
for (let i = 0; i < 3; i++) losses.push((await net.step(batch, { update })).loss);
for (const { name } of net.parameters()) hash.update(new Uint8Array((await net.tensor(name)).data.buffer));
for (const { data } of Object.values(await net.forward({ image }))) hash.update(new Uint8Array(data.buffer));
const { isa, isas } = coreInfo();
net.dispose();
console.log(JSON.stringify({ isa, isas, losses, digest: hash.digest('hex') }));
`;

interface Answer {
  isa: string;
  isas: string[];
  losses: number[];
  digest: string;
}

function run(command: string, args: string[], env: NodeJS.ProcessEnv = process.env): Answer {
  const file = path.join(folder, 'steps.mjs');
  writeFileSync(file, SCRIPT);
  const { status, signal, stdout, stderr } = spawnSync(command, [...args, file], { encoding: 'utf8', env });
  if (status !== 0) throw new Error(`${command} ended with ${status ?? signal}: ${stderr}`);
  return JSON.parse(stdout) as Answer;
}

const { CI: _, THAW_MAX_ISA: __, ...env } = process.env;
const x86 = process.platform === 'linux' && process.arch === 'x64';
const hasQemu = x86 && spawnSync('qemu-x86_64', ['--version']).status === 0;

describe('emulated processors', { timeout: 300_000 }, () => {
  for (const [processor, isa] of [
    ['Nehalem', 'scalar'],
    ['Haswell', 'avx2'],
  ] as const) {
    it(`${processor}: loads, predicts and trains with ${isa}`, (ctx) => {
      if (!hasQemu) return ctx.skip("needs Linux on x86-64 and qemu-x86_64 (Debian's qemu-user)");
      const there = run('qemu-x86_64', ['-cpu', processor, process.execPath], env);
      expect(there.isa).toBe(isa);
      expect(there.losses[2]).toBeLessThan(there.losses[0]!);
      const here = run(process.execPath, [], { ...env, THAW_MAX_ISA: isa });
      // A machine that is itself older than the emulated one has nothing to compare with.
      if (here.isa === isa) expect(there).toEqual(here);
    });
  }
});
