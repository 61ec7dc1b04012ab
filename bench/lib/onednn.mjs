// oneDNN's times for a network's convolutions and the machine's peak, from a program that is compiled when it is needed.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { THREADS } from './machine.mjs';
import { CACHE } from './networks.mjs';
import { convolutions, shapesText } from './shapes.mjs';

const SOURCE = fileURLToPath(new URL('../cpp/onednn_layers.cpp', import.meta.url));
const PROGRAM = path.join(CACHE, 'onednn_layers');
const PASSES = ['conv2d', 'conv2d_backward_data', 'conv2d_backward_weights'];

/** @returns {string | undefined} why there is none */
function compile() {
  if (existsSync(PROGRAM) && statSync(PROGRAM).mtimeMs > statSync(SOURCE).mtimeMs) return undefined;
  mkdirSync(CACHE, { recursive: true });
  const args = ['-std=c++20', '-O2', '-march=native', SOURCE, '-ldnnl', '-pthread', '-o', PROGRAM];
  const { status, stderr, error } = spawnSync('g++', args, { encoding: 'utf8' });
  if (status === 0) return undefined;
  return error ? 'no g++' : /dnnl/.test(stderr) ? 'oneDNN is not installed (Debian: libdnnl-dev)' : stderr.trim();
}

/**
 * @param {{ network: string, batch: number, precision: string }} of
 * @returns {Promise<{ peak?: number, ms: Map<string, number>, absent?: string }>} GFLOP/s; milliseconds by
 *   'operator node'
 */
export async function oneDnn({ network, batch, precision }) {
  const absent = compile();
  if (absent) return { ms: new Map(), absent };
  const file = path.join(CACHE, `${network}.txt`);
  writeFileSync(file, shapesText(network, await convolutions(network)));
  const { status, stdout, stderr } = spawnSync(PROGRAM, [file, batch, precision, THREADS].map(String), {
    encoding: 'utf8',
    env: { ...process.env, OMP_NUM_THREADS: String(THREADS) },
  });
  if (status !== 0) return { ms: new Map(), absent: stderr.trim() || `ended with ${status}` };
  const [head, ...lines] = stdout
    .trim()
    .split('\n')
    .map((line) => line.split(' '));
  const ms = new Map(lines.flatMap(([node, ...times]) => times.map((t, i) => [`${PASSES[i]} ${node}`, Number(t)])));
  return { peak: Number(head[1]), ms };
}
