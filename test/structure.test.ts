/** The house: arrows point one way, files stay short, and a binary for every processor carries no weak symbols. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

const root = path.resolve(import.meta.dirname, '..');

function files(folder: string, pattern: RegExp): string[] {
  return readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => pattern.test(name))
    .map((name) => path.posix.join(folder, name.split(path.sep).join('/')));
}

/** Lower may not import higher. Folders of one row do not import each other's insides but for their types. */
const LAYERS: Record<string, number> = {
  'src/errors.ts': 0,
  'src/graph': 1,
  'src/native.ts': 1,
  'src/report': 1,
  'src/formats': 2,
  'src/hub': 2,
  'src/zoo': 2,
  'src/network': 3,
  'src/data': 4,
  'src/train': 5,
  'src/index.ts': 6,
  'src/cli': 7,
};

function layer(file: string): number {
  const key = Object.keys(LAYERS).find((k) => file === k || file.startsWith(`${k}/`));
  if (key === undefined) throw new Error(`${file} has no place in the house`);
  return LAYERS[key]!;
}

function imports(file: string): string[] {
  const text = readFileSync(path.join(root, file), 'utf8');
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map((m) =>
    path.posix.join(path.posix.dirname(file), m[1]!.replace(/\.js$/, '.ts')),
  );
}

describe('the house', () => {
  it('imports point one way in TypeScript', () => {
    const wrong: string[] = [];
    for (const file of files('src', /\.ts$/))
      for (const target of imports(file)) if (layer(target) > layer(file)) wrong.push(`${file} → ${target}`);
    expect(wrong).toEqual([]);
  });

  it.each(["'node-gyp-build'", "('thaw-cuda')"])('only src/native.ts looks for binaries: %s', (word) => {
    const loaders = files('src', /\.ts$/).filter((f) => readFileSync(path.join(root, f), 'utf8').includes(word));
    expect(loaders).toEqual(['src/native.ts']);
  });

  it('the package of the second binary has the version of thaw, and thaw takes no other', () => {
    const [thaw, cuda] = ['.', 'packages/thaw-cuda'].map((folder) =>
      JSON.parse(readFileSync(path.join(root, folder, 'package.json'), 'utf8')),
    );
    expect(cuda).toMatchObject({ name: 'thaw-cuda', version: thaw.version, engines: thaw.engines });
    expect(thaw.peerDependencies).toEqual({ 'thaw-cuda': thaw.version });
    expect(thaw.peerDependenciesMeta).toEqual({ 'thaw-cuda': { optional: true } });
  });

  it('the core knows neither JavaScript nor the binding, and kernels know no passes', () => {
    const wrong: string[] = [];
    for (const file of files('cpp', /\.(cpp|h|def)$/)) {
      const text = readFileSync(path.join(root, file), 'utf8');
      const included = [...text.matchAll(/#include [<"]([^>"]+)[>"]/g)].map((m) => m[1]!);
      for (const header of included) {
        if (/napi|node_api|binding\//.test(header)) wrong.push(`${file} → ${header}`);
        if (file.startsWith('cpp/kernels/') && /^(ops|compile|session|graph)\//.test(header))
          wrong.push(`${file} → ${header}`);
        if (file.startsWith('cpp/graph/') && /^(compile|session)\//.test(header)) wrong.push(`${file} → ${header}`);
      }
      if (/\b(printf|std::cout|std::cerr|std::abort|exit)\s*\(/.test(text.replace(/snprintf/g, '')))
        wrong.push(`${file} prints or exits`);
    }
    expect(wrong).toEqual([]);
  });

  it('intrinsics stay in the kernels', () => {
    const wrong = files('cpp', /\.(cpp|h)$/)
      // Pausing and the denormal mode belong to threads, not to kernels.
      .filter((f) => !f.startsWith('cpp/kernels/') && !['cpp/run/pool.cpp', 'cpp/run/processors.cpp'].includes(f))
      .filter((f) => /immintrin\.h|_mm\d*_/.test(readFileSync(path.join(root, f), 'utf8')));
    expect(wrong).toEqual([]);
  });

  it('files stay under 400 lines', () => {
    const long = ['cpp', 'binding', 'packages', 'src', 'test', 'bench']
      .filter((folder) => existsSync(path.join(root, folder)))
      .flatMap((folder) => files(folder, /\.(cpp|h|cu|ts|mjs|py)$/))
      .filter((f) => !f.includes('node_modules/'))
      .map((f) => [f, readFileSync(path.join(root, f), 'utf8').split('\n').length] as const)
      .filter(([, lines]) => lines > 401);
    expect(long).toEqual([]);
  });

  it.runIf(process.platform === 'linux')('objects built for one instruction set export no weak symbols', () => {
    const objects = files('build', /thaw_(scalar|avx2|avx512|amx)\.dir.*\.o$/);
    expect(objects.length).toBeGreaterThan(0);
    const weak = objects.flatMap((object) =>
      execFileSync('nm', ['-C', path.join(root, object)], { encoding: 'utf8' })
        .split('\n')
        .filter((line) => / [WwVvu] /.test(line))
        .map((line) => `${path.basename(object)}: ${line.trim()}`),
    );
    expect(weak).toEqual([]);
  });
});
