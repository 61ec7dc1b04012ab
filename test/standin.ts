import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');

function cmake(args: string[]): void {
  const { status, stdout, stderr } = spawnSync('cmake', args, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28 });
  if (status !== 0) throw new Error(`cmake ${args.join(' ')} ended with ${status}:\n${stdout}\n${stderr}`);
}

/**
 * Builds what stands in for the second binary on machines without a GPU: the kernels, compiled for the processor
 * (test/cuda/standin). THAW_CUDA_BINARY takes the path that this returns. Built anew only where sources have changed.
 */
export function buildStandin(): string {
  const folder = path.join(root, 'build', 'standin');
  const options = ['-DTHAW_CORE_TESTS=ON', '-DTHAW_CUDA=OFF', '-DCMAKE_BUILD_TYPE=Release'];
  cmake(['-S', root, '-B', folder, ...options]);
  cmake(['--build', folder, '--target', 'thaw_cuda_standin', '--parallel', String(availableParallelism())]);
  return path.join(folder, 'thaw.standin.so');
}
