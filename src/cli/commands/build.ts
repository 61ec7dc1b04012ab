import { spawn } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { ThawError } from '../../errors.js';
import { number } from '../flags.js';
import type { CliCommand } from './command.js';

export const build: CliCommand = {
  help: {
    name: 'build',
    operands: '',
    text: "Compiles the core from the package's own sources, for platforms without a prebuilt binary. Needs a C++20 compiler and CMake 3.18; downloads nothing.",
    flags: [],
    examples: ['npx thaw build', 'npx thaw build --threads 1'],
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
      await cmake(['-S', root, '-B', work, '-DCMAKE_BUILD_TYPE=Release', ...headers, ...imports], signal);
      output.say('Compiling (a few minutes) …');
      await cmake(['--build', work, '--config', 'Release', '--parallel', String(jobs)], signal);
      const target = path.join(root, 'build', 'Release', 'thaw.node');
      await mkdir(path.dirname(target), { recursive: true });
      await copyFile(path.join(work, process.platform === 'win32' ? 'Release/thaw.node' : 'thaw.node'), target);
      output.result({ built: target }, `Built '${target}'.`);
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  },
};

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
