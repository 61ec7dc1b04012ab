import { spawn } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { ThawError } from '../../errors.js';
import type { CliCommand } from './command.js';

export const build: CliCommand = {
  help: {
    name: 'build',
    operands: '',
    text: "Compiles the core from the package's own sources, for platforms without a prebuilt binary. Needs a C++20 compiler and CMake 3.18; downloads nothing.",
    flags: [],
    examples: ['npx thaw build'],
  },
  async run(_args, { output }) {
    const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
    const work = await mkdtemp(path.join(os.tmpdir(), 'thaw-build-'));
    try {
      output.say('Configuring …');
      const require = createRequire(path.join(root, 'package.json'));
      // Node-API headers come from a package: the same for every version of Node.
      const headers = (require('node-api-headers') as { include_dir: string }).include_dir;
      const addon = (require('node-addon-api') as { include_dir: string }).include_dir;
      await cmake([
        '-S',
        root,
        '-B',
        work,
        '-DCMAKE_BUILD_TYPE=Release',
        `-DTHAW_NODE_API_INCLUDE=${headers}`,
        `-DTHAW_NODE_ADDON_API_INCLUDE=${addon}`,
      ]);
      output.say('Compiling (a few minutes) …');
      await cmake(['--build', work, '--config', 'Release', '--parallel', String(os.availableParallelism())]);
      const target = path.join(root, 'build', 'Release', 'thaw.node');
      await mkdir(path.dirname(target), { recursive: true });
      await copyFile(path.join(work, process.platform === 'win32' ? 'Release/thaw.node' : 'thaw.node'), target);
      output.result({ built: target }, `Built '${target}'.`);
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  },
};

function cmake(args: string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('cmake', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    child.stdout.on('data', (chunk) => (said += chunk));
    child.stderr.on('data', (chunk) => (said += chunk));
    child.on('error', (error) =>
      reject(new ThawError('ERR_BUILD', `expected CMake in PATH for the build, received: ${error.message}`)),
    );
    child.on('close', (code) =>
      code === 0
        ? resolve()
        : reject(new ThawError('ERR_BUILD', `the build failed:\n${said.split('\n').slice(-30).join('\n')}`)),
    );
  });
}
