// Makes prebuilds/ for this machine: the binary that `npm pack` puts into the package and node-gyp-build finds there.
// prebuildify names and strips it; it is told that its node-gyp is this script, which builds with cmake-js instead.
// Where nvcc is found, that build makes the kernels for GPUs as well: they go into the package thaw-cuda.
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import path from 'node:path';

const script = fileURLToPath(import.meta.url);
const root = path.dirname(script);
// prebuildify moves the binary away from where it was built; this folder keeps build/Release out of its reach.
const stage = path.join(root, 'build', 'prebuild');

function run(args) {
  const jobs = process.env.CMAKE_BUILD_PARALLEL_LEVEL ?? String(availableParallelism());
  const env = { ...process.env, CMAKE_BUILD_PARALLEL_LEVEL: jobs };
  const { status, error } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit', env });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

function compile() {
  const require = createRequire(import.meta.url);
  run([path.join(path.dirname(require.resolve('cmake-js/package.json')), 'bin', 'cmake-js'), 'build', '-O', 'build']);
  const release = path.join(stage, 'build', 'Release');
  mkdirSync(release, { recursive: true });
  copyFileSync(path.join(root, 'build', 'Release', 'thaw.node'), path.join(release, 'thaw.node'));
}

/** `built`: where the build leaves the kernels for GPUs, if it makes them. */
function packCuda(built, prebuilds) {
  rmSync(prebuilds, { recursive: true, force: true });
  if (!existsSync(built)) {
    process.stderr.write('thaw-cuda: nvcc was not found, so its binary is left out\n');
    return;
  }
  const folder = path.join(prebuilds, `${process.platform}-${process.arch}`);
  mkdirSync(folder, { recursive: true });
  copyFileSync(built, path.join(folder, path.basename(built)));
}

/** A program that calls this script, under a name that prebuildify can start on this system. */
function shim() {
  const windows = process.platform === 'win32';
  const file = path.join(stage, windows ? 'node-gyp.cmd' : 'node-gyp');
  const call = `"${process.execPath}" "${script}" compile`;
  writeFileSync(file, windows ? `@${call}\r\n` : `#!/bin/sh\nexec ${call}\n`);
  chmodSync(file, 0o755);
  return file;
}

if (process.argv[2] === 'compile') compile();
else {
  rmSync(path.join(root, 'prebuilds'), { recursive: true, force: true });
  mkdirSync(stage, { recursive: true });
  const bin = path.join(root, 'node_modules', 'prebuildify', 'bin.js');
  const where = ['--cwd', stage, '--out', root, '--name', 'thaw'];
  const cuda = path.join(root, 'build', 'Release', process.platform === 'win32' ? 'thaw.cuda.dll' : 'thaw.cuda.so');
  rmSync(cuda, { force: true }); // what is there afterwards is of this build
  run([bin, '--napi', '--strip', '--tag-libc', ...where, '--node-gyp', shim()]);
  packCuda(cuda, path.join(root, 'packages', 'thaw-cuda', 'prebuilds'));
}
