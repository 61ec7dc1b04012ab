/** The package as npm packs and installs it: without scripts, without compilers, on every version of Node it speaks of. */
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bareEnvironment, nodeBinary, npm, root } from './package/npm.js';

const folder = mkdtempSync(path.join(tmpdir(), 'thaw-package-'));
const project = path.join(folder, 'project');
const installed = path.join(project, 'node_modules', 'thaw');
let tarball: string;
let bare: NodeJS.ProcessEnv;

interface Answer {
  node: string;
  loss: number;
  accuracy: number;
  best: { label: string; probability: number };
}

/** Runs a program to its end; throws with what it said where it fails. */
function run(command: string, args: string[], options: { cwd?: string; env?: NodeJS.ProcessEnv } = {}): string {
  const all = { cwd: project, encoding: 'utf8', maxBuffer: 1 << 28, ...options } as const;
  const { status, signal, stdout, stderr } = spawnSync(command, args, all);
  if (status !== 0)
    throw new Error(`${command} ${args.join(' ')} ended with ${status ?? signal}:\n${stdout}\n${stderr}`);
  return stdout;
}

/** Packs the package in a folder; returns the path of the archive. */
function pack(from: string): string {
  const [packed] = JSON.parse(npm(['pack', '--json', '--pack-destination', folder], from)) as [{ filename: string }];
  return path.join(folder, packed.filename);
}

async function drawPhotos(): Promise<void> {
  for (const [label, channel] of [
    ['red', 'r'],
    ['green', 'g'],
  ] as const) {
    mkdirSync(path.join(folder, 'photos', label), { recursive: true });
    for (let i = 0; i < 8; i++) {
      const background = { r: 20 + i, g: 25, b: 30 - i, [channel]: 190 + i };
      const picture = sharp({ create: { width: 40 + i, height: 36, channels: 3, background } });
      await picture.jpeg().toFile(path.join(folder, 'photos', label, `${i}.jpg`));
    }
  }
}

beforeAll(async () => {
  npm(['run', 'prebuild'], root);
  tarball = pack(root);
  bare = bareEnvironment(folder);
  mkdirSync(project);
  writeFileSync(path.join(project, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
  npm(['install', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', tarball], project, bare);
  for (const name of ['use.mjs', 'use.cjs', 'consumer.ts', 'consumer.cts'])
    cpSync(path.join(root, 'test', 'package', name), path.join(project, name));
  await drawPhotos();
}, 1_200_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the installed package', { timeout: 300_000 }, () => {
  it('and all that comes with it has no install scripts and no binding.gyp', () => {
    const lock = JSON.parse(readFileSync(path.join(project, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { hasInstallScript?: boolean }>;
    };
    const wrong = Object.keys(lock.packages).filter(
      (name) => lock.packages[name]!.hasInstallScript || existsSync(path.join(project, name, 'binding.gyp')),
    );
    expect(wrong).toEqual([]);
  });

  it('was installed where no compiler can be found', () => {
    const found = ['cc', 'gcc', 'g++', 'clang', 'cmake', 'make', 'python3'].filter(
      (name) => spawnSync('/bin/sh', ['-c', `command -v ${name}`], { env: bare }).status === 0,
    );
    expect(found).toEqual([]);
  });

  it.runIf(process.platform === 'linux')('needs no newer glibc than 2.35, and no libstdc++', () => {
    const binary = path.join(installed, 'prebuilds', `linux-${process.arch}`, 'thaw.glibc.node');
    const wanted = [...run('objdump', ['-T', binary]).matchAll(/GLIBC_2\.(\d+)/g)].map((match) => Number(match[1]));
    expect(Math.max(...wanted)).toBeLessThanOrEqual(35);
    expect(run('objdump', ['-p', binary])).not.toContain('libstdc++');
  });

  let bits: Answer | undefined;
  for (const major of [20, 22, 24, 26]) {
    it(`fits and predicts on JPEG files on Node ${major}, also in a worker and by require`, () => {
      const node = nodeBinary(major);
      const here = JSON.parse(run(node, ['use.mjs', folder], { env: bare })) as Answer;
      expect(here.node).toMatch(new RegExp(`^${major}\\.`));
      expect(here).toMatchObject({ accuracy: 1, best: { label: 'red' } });
      expect(JSON.parse(run(node, ['use.mjs', folder, 'worker'], { env: bare }))).toEqual(here);
      expect(JSON.parse(run(node, ['use.cjs'], { env: bare }))).toEqual({ shape: [1, 3], error: 'function' });
      bits ??= here;
      expect({ ...here, node: bits.node }).toEqual(bits);
    });
  }

  it('has the command thaw', () => {
    const thaw = path.join(project, 'node_modules', '.bin', 'thaw');
    const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string };
    expect(run(thaw, ['--version'], { env: bare })).toBe(`${version}\n`);
    const model = path.join(folder, 'base-worker.safetensors');
    const found = JSON.parse(run(thaw, ['inspect', model, '--json'], { env: bare })) as { architecture: string };
    expect(found.architecture).toBe('cifar_resnet20');
  });

  it('is without the second binary, and takes the package that has it', () => {
    const files = readdirSync(installed, { recursive: true, encoding: 'utf8' });
    expect(files.filter((file) => /\.(so|dll)$|^packages/.test(file))).toEqual([]);
    const thaw = path.join(project, 'node_modules', '.bin', 'thaw');
    const why = () => (JSON.parse(run(thaw, ['devices', '--json'], { env: bare })) as { why: string | null }).why;
    expect(why()).toMatch(/npm install thaw-cuda@/);

    const built = existsSync(path.join(root, 'build', 'Release', 'thaw.cuda.so'));
    const second = pack(path.join(root, 'packages', 'thaw-cuda'));
    npm(['install', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', second], project, bare);
    expect(why()).not.toMatch(built ? /thaw-cuda/ : /npm install/);
    expect(run(path.join(root, 'node_modules', '.bin', 'publint'), ['run', second, '--strict'])).toContain('All good!');
  });

  it('says what to do where it has no binary, and can make one of its own sources', { timeout: 1_200_000 }, () => {
    const other = path.join(folder, 'other');
    cpSync(project, other, { recursive: true, verbatimSymlinks: true });
    rmSync(path.join(other, 'node_modules', 'thaw', 'prebuilds'), { recursive: true });
    const script = `import('thaw').then((thaw) => thaw.create('cifar_resnet20'))
      .then((net) => console.log(net.name), (error) => console.log(error.code, error.message))`;
    const create = () => run(process.execPath, ['-e', script], { cwd: other });
    expect(create()).toMatch(/^ERR_NATIVE_MISSING .*npx thaw build/);

    const build = spawnSync(path.join(other, 'node_modules', '.bin', 'thaw'), ['build'], { cwd: other, env: bare });
    expect([build.status, String(build.stderr)]).toEqual([1, expect.stringContaining('expected CMake in PATH')]);

    // Not optimised, in half the time: what is asked is whether the sources in the package are whole, build and load.
    const compiler = path.join(folder, 'compiler');
    writeFileSync(compiler, `#!/bin/sh\nexec ${process.env['CXX'] ?? 'c++'} "$@" -O0\n`, { mode: 0o755 });
    const env = { ...process.env, CXX: compiler };
    npm(['exec', '--offline', '--', 'thaw', 'build', '--no-cuda', '--json'], other, env);
    expect(create()).toBe('cifar_resnet20\n');
  });
});

describe('the types of the package', { timeout: 300_000 }, () => {
  const tool = (name: string) => path.join(root, 'node_modules', '.bin', name);

  it('pass publint', () => {
    expect(run(tool('publint'), ['run', tarball, '--strict'])).toContain('All good!');
  });

  it('pass attw', () => {
    // Every Node that thaw runs on can require() an ES module, which attw's rule does not know.
    run(tool('attw'), [tarball, '--ignore-rules', 'cjs-resolves-to-esm', '--no-emoji']);
  });

  for (const [moduleResolution, module, files] of [
    ['NodeNext', 'NodeNext', ['consumer.ts', 'consumer.cts']],
    ['Bundler', 'ESNext', ['consumer.ts']],
  ] as const) {
    it(`compile in a strict program with ${moduleResolution}`, () => {
      const types = path.join(project, 'node_modules', '@types');
      if (!existsSync(types)) symlinkSync(path.join(root, 'node_modules', '@types'), types);
      const compilerOptions = {
        ...{ target: 'ES2022', lib: ['ES2022'], types: ['node'], module, moduleResolution, noEmit: true },
        ...{ strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, skipLibCheck: false },
      };
      const config = path.join(project, `tsconfig.${moduleResolution}.json`);
      writeFileSync(config, JSON.stringify({ compilerOptions, files }));
      run(tool('tsc'), ['-p', config]);
    });
  }

  it('come with the code that they describe', () => {
    expect(existsSync(path.join(installed, 'dist', 'index.d.ts'))).toBe(true);
    expect(existsSync(path.join(installed, 'src'))).toBe(false);
    expect(existsSync(path.join(installed, 'test'))).toBe(false);
  });
});
