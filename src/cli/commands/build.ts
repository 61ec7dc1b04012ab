import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { ThawError } from '../../errors.js';
import { flag, number } from '../flags.js';
import type { CliCommand } from './command.js';

export const build: CliCommand = {
  help: {
    name: 'build',
    operands: '',
    text: "Compiles the core from the package's own sources, for platforms without a prebuilt binary. Needs a C++20 compiler and CMake 3.18; downloads nothing. Where nvcc is in the path, the kernels for GPUs are built too.",
    flags: [
      {
        name: 'cuda',
        kind: 'switch',
        text: '--cuda: it is an error where nvcc is not found. --no-cuda: no kernels for GPUs, even where it is.',
      },
    ],
    examples: ['npx thaw build', 'npx thaw build --threads 1 --no-cuda'],
  },
  async run({ values }, { output, signal }) {
    const jobs = number(values, 'threads') ?? os.availableParallelism();
    const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
    const work = await mkdtemp(path.join(os.tmpdir(), 'thaw-build-'));
    try {
      output.say('Configuring …');
      const require = createRequire(path.join(root, 'package.json'));
      // Node-API headers come from a package: the same for every version of Node.
      const api = require('node-api-headers') as ApiHeaders;
      const wrapper = require('node-addon-api') as { include_dir: string };
      const headers = [
        `-DTHAW_NODE_API_INCLUDE=${path.resolve(api.include_dir)}`,
        `-DTHAW_NODE_ADDON_API_INCLUDE=${path.resolve(wrapper.include_dir)}`,
      ];
      const imports = process.platform === 'win32' ? importLibrary(api, work) : [];
      const wanted = flag(values, 'cuda');
      const gpus = `-DTHAW_CUDA=${wanted === undefined ? 'AUTO' : wanted ? 'ON' : 'OFF'}`;
      await cmake(['-S', root, '-B', work, '-DCMAKE_BUILD_TYPE=Release', ...headers, ...imports, gpus], signal);
      output.say('Compiling (a few minutes) …');
      await cmake(['--build', work, '--config', 'Release', '--parallel', String(jobs)], signal);
      const target = path.join(root, 'build', 'Release', 'thaw.node');
      await mkdir(path.dirname(target), { recursive: true });
      const folder = process.platform === 'win32' ? path.join(work, 'Release') : work;
      await copyFile(path.join(folder, 'thaw.node'), target);
      const cuda = await copyCuda(folder, path.dirname(target));
      const said = cuda ? `, and kernels for GPUs '${cuda}'` : ', without kernels for GPUs';
      output.result({ built: target, cuda }, `Built '${target}'${said}.`);
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  },
};

/** The kernels for GPUs, which CMake makes where it finds nvcc. */
async function copyCuda(from: string, to: string): Promise<string | null> {
  const file = process.platform === 'win32' ? 'thaw.cuda.dll' : 'thaw.cuda.so';
  if (!existsSync(path.join(from, file))) return null;
  await copyFile(path.join(from, file), path.join(to, file));
  return path.join(to, file);
}

interface ApiHeaders {
  include_dir: string;
  def_paths: { node_api_def: string };
}

/** Windows links against a library made from the list of Node-API's functions. */
function importLibrary({ def_paths }: ApiHeaders, work: string): string[] {
  const library = path.join(work, 'node.lib');
  const names = { NODELIB_DEF: path.resolve(def_paths.node_api_def), NODELIB_TARGET: library, LIB: library };
  return Object.entries(names).map(([name, value]) => `-DCMAKE_JS_${name}=${value}`);
}

function cmake(args: string[], signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('cmake', args, { stdio: ['ignore', 'pipe', 'pipe'], signal });
    let said = '';
    child.stdout.on('data', (chunk) => (said += chunk));
    child.stderr.on('data', (chunk) => (said += chunk));
    child.on('error', ({ message }) =>
      reject(
        signal.aborted
          ? new ThawError('ERR_ABORTED', 'the build was aborted')
          : new ThawError('ERR_BUILD', `expected CMake in PATH for the build, received: ${message}`),
      ),
    );
    child.on('close', (code) => {
      if (code === 0) resolve();
      else reject(new ThawError('ERR_BUILD', `the build failed:\n${said.split('\n').slice(-30).join('\n')}`));
    });
  });
}
