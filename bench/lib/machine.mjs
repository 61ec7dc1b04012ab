// What the results depend on besides the code: processor, load, and the peers that are installed.
import { cpus, loadavg, availableParallelism } from 'node:os';
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

/** Debian's PyTorch belongs to this interpreter; another python3 first in PATH does not see it. */
export const PYTHON = process.env.THAW_BENCH_PYTHON ?? '/usr/bin/python3';

/** Threads for thaw and for every peer: one for each processor. */
export const THREADS = availableParallelism();

/** Environment of processes that run PyTorch: its default here may be one thread. */
export const PYTHON_ENV = { ...process.env, OMP_NUM_THREADS: String(THREADS) };

/** @returns {{ model: string, processors: number, isa: string, load: number }} */
export function describeMachine(isa) {
  return { model: cpus()[0]?.model.trim() ?? 'unknown', processors: THREADS, isa, load: loadavg()[0] ?? 0 };
}

/** @returns {{ name: string, version: string } | { name: string, absent: string }} */
export function findPyTorch() {
  const name = 'PyTorch';
  const script = 'import torch, torchvision; print(torch.__version__)';
  const { status, stdout, error } = spawnSync(PYTHON, ['-c', script], { encoding: 'utf8', env: PYTHON_ENV });
  if (status === 0) return { name, version: stdout.trim() };
  return { name, absent: error ? `no ${PYTHON}` : `${PYTHON} has no torch and torchvision` };
}

/** @returns {{ name: string, version: string } | { name: string, absent: string }} */
export function findOnnxRuntime() {
  const name = 'onnxruntime-node';
  try {
    const require = createRequire(import.meta.url);
    require('onnxruntime-node');
    return { name, version: require('onnxruntime-node/package.json').version };
  } catch {
    const folder = fileURLToPath(new URL('..', import.meta.url));
    return { name, absent: `npm install --prefix ${folder} --ignore-scripts` };
  }
}
