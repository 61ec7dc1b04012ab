// Makes a checkout ready to run: installs packages, builds the addon and compiles the TypeScript, each only where needed.
// `npm test`, `npm run demo` and `npm run bench` begin with it, so that they work as the first command after a clone.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { availableParallelism, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import path from 'node:path';

const root = path.dirname(fileURLToPath(import.meta.url));
// Each job may want half a GB of memory.
const jobs = Math.max(1, Math.min(availableParallelism(), Math.floor(totalmem() / 2 ** 29)));

function run(what, command, args) {
  process.stderr.write(`${what}\n`);
  // npm's own output would hide what the caller wants to see; on failure it is shown whole.
  const result = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    shell: process.platform === 'win32',
    env: { ...process.env, npm_config_loglevel: 'error', CMAKE_BUILD_PARALLEL_LEVEL: String(jobs) },
  });
  if (result.status === 0) return;
  process.stderr.write(`${result.stdout ?? ''}${result.stderr ?? ''}${result.error ? `${result.error}\n` : ''}`);
  process.stderr.write(`thaw: ${what.toLowerCase()} failed: ${command} ${args.join(' ')}\n`);
  process.exit(1);
}

function installPackages() {
  const wanted = createHash('sha256')
    .update(readFileSync(path.join(root, 'package.json')))
    .update(existsSync(path.join(root, 'package-lock.json')) ? readFileSync(path.join(root, 'package-lock.json')) : '')
    .digest('hex');
  const stamp = path.join(root, 'node_modules', '.thaw-prepared');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  run('Installing packages …', 'npm', [
    existsSync(path.join(root, 'package-lock.json')) ? 'ci' : 'install',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
  ]);
  mkdirSync(path.dirname(stamp), { recursive: true });
  writeFileSync(stamp, wanted);
}

const first = !existsSync(path.join(root, 'build', 'Release', 'thaw.node'));
installPackages();
run(first ? 'Building the C++ core (a few minutes the first time) …' : 'Bringing the C++ core up to date …', 'npm', [
  'run',
  'build:native',
]);
run('Compiling the TypeScript …', 'npm', ['run', 'build:ts']);
