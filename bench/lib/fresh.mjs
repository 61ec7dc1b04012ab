// Work in fresh processes, where start-up and memory are measured.
import { spawn } from 'node:child_process';
import { PYTHON, PYTHON_ENV, THREADS } from './machine.mjs';
import { peerFile, sideFile } from './networks.mjs';

/**
 * Runs a program to its end; its last line on standard output is JSON.
 * @returns {Promise<{ ms: number, answer: any }>} wall time from start to exit
 */
function run(program, args, env) {
  return new Promise((resolve, reject) => {
    const begin = performance.now();
    const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    let errors = '';
    child.stdout.on('data', (chunk) => (out += chunk));
    child.stderr.on('data', (chunk) => (errors += chunk));
    child.on('error', reject);
    child.on('close', (code) => {
      const ms = performance.now() - begin;
      if (code !== 0) return reject(new Error(`${args[0]} ended with ${code}: ${errors}`));
      resolve({ ms, answer: JSON.parse(out.trim().split('\n').at(-1) ?? 'null') });
    });
  });
}

export const freshNode = (file, ...args) => run(process.execPath, [sideFile(file), ...args.map(String)], process.env);

export const freshPython = (file, ...args) =>
  run(PYTHON, [peerFile(file), String(THREADS), ...args.map(String)], PYTHON_ENV);
