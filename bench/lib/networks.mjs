// Weights and ONNX files that all sides read, made once by PyTorch with a fixed seed and kept outside the repository.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import { PYTHON, PYTHON_ENV } from './machine.mjs';
import { load } from '../../dist/index.js';

/** Grows with every change of what export.py writes. */
const VERSION = 1;

export const CACHE = process.env.THAW_BENCH_CACHE ?? path.join(tmpdir(), `thaw-bench-${VERSION}`);
export const CLASSES = 1000;
export const SIDE = 224;

export const peerFile = (name) => fileURLToPath(new URL(`../peers/${name}`, import.meta.url));
export const sideFile = (name) => fileURLToPath(new URL(`../sides/${name}`, import.meta.url));

/**
 * Files of a network with random weights: batch norms have the statistics of random pictures, so that activations keep
 * their size through all layers.
 * @param {string} name an architecture of torchvision
 * @returns {Promise<{ pth: string, onnx: string, safetensors: string }>}
 */
export async function networkFiles(name) {
  mkdirSync(CACHE, { recursive: true });
  const [pth, onnx, safetensors] = ['pth', 'onnx', 'safetensors'].map((type) => path.join(CACHE, `${name}.${type}`));
  if (!existsSync(onnx)) {
    const { status, stderr } = spawnSync(PYTHON, [peerFile('export.py'), name, pth, onnx, String(sideOf(name))], {
      encoding: 'utf8',
      env: PYTHON_ENV,
    });
    if (status !== 0) throw new Error(`export of ${name} failed: ${stderr}`);
  }
  if (!existsSync(safetensors)) {
    const net = await load(pth);
    await net.save(safetensors);
    net.dispose();
  }
  return { pth, onnx, safetensors };
}

/** Of the pictures that a network is made for. */
export const sideOf = (name) => (name === 'inception_v3' ? 299 : SIDE);

/** The same pictures for every side: numbers in the range of normalised pixels, from a small generator. */
export function pictures(count, side = SIDE) {
  const data = new Float32Array(count * 3 * side * side);
  let state = 12345;
  for (let i = 0; i < data.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    data[i] = (state / 2 ** 32 - 0.5) * 4;
  }
  return { data, shape: [count, 3, side, side] };
}

export function targets(count) {
  return { data: Int32Array.from({ length: count }, (_, i) => (i * 37) % CLASSES), shape: [count] };
}

/** Raw numbers in a file, for a peer in another process. */
export function writeNumbers(name, data) {
  mkdirSync(CACHE, { recursive: true });
  const file = path.join(CACHE, name);
  writeFileSync(file, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return file;
}

export function readNumbers(file) {
  const bytes = readFileSync(file);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}
