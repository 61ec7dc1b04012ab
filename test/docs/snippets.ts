/** The snippets of the documentation, and a folder in which they run: pictures, lists and stand-ins for weight files. */
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import ts from 'typescript';
import { create } from '../../src/network/create.js';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface Snippet {
  /** File and line. */
  where: string;
  language: 'ts' | 'js' | 'sh';
  code: string;
}

const FENCE = /^```(\w+)[^\n]*\n([^]*?)^```$/gm;

export function snippetsOf(file: string): Snippet[] {
  const text = readFileSync(path.join(ROOT, file), 'utf8');
  return [...text.matchAll(FENCE)].flatMap(({ index, 1: language, 2: code }): Snippet[] => {
    if (language !== 'ts' && language !== 'js' && language !== 'sh') return [];
    return [{ where: `${file}:${text.slice(0, index).split('\n').length}`, language, code: code! }];
  });
}

const CHECKED: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  strict: true,
  exactOptionalPropertyTypes: true,
  skipLibCheck: true,
  noEmit: true,
  types: ['node'],
};

/** What the compiler says about snippets, as lines; `folder` finds thaw and Node's types in its node_modules. */
export function typeErrors(folder: string, snippets: readonly Snippet[]): string[] {
  const names = snippets.map((snippet, i) => {
    const name = path.join(folder, `snippet${i}.mts`);
    writeFileSync(name, snippet.code);
    return name;
  });
  const program = ts.createProgram(names, { ...CHECKED, typeRoots: [path.join(ROOT, 'node_modules/@types')] });
  return ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
    const at = file && start !== undefined ? file.getLineAndCharacterOfPosition(start).line + 1 : 0;
    const snippet = snippets[names.findIndex((name) => file && path.basename(name) === path.basename(file.fileName))];
    return `${snippet?.where ?? '?'} + ${at}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
  });
}

export function javascript({ code, language }: Snippet): string {
  const { ESNext: module } = ts.ModuleKind;
  const compilerOptions = { target: ts.ScriptTarget.ES2022, module };
  return language === 'js' ? code : ts.transpileModule(code, { compilerOptions }).outputText;
}

async function picture(file: string, i: number, label: number): Promise<void> {
  const [width, height] = [64 + i, 48];
  const data = Buffer.from({ length: width * height * 3 } as ArrayLike<number>);
  for (let p = 0; p < data.length; p++) data[p] = 40 + 30 * (p % 3) + 60 * label + ((p * (7 + i)) % 50);
  await sharp(data, { raw: { width, height, channels: 3 } })
    .jpeg()
    .toFile(file);
}

const LABELS = ['cucumber', 'zucchini'];
const EACH = 6;

/** Fills a folder with all that snippets use. */
export async function furnish(folder: string): Promise<void> {
  for (const [label, name] of LABELS.entries()) {
    mkdirSync(path.join(folder, 'photos', name), { recursive: true });
    for (let i = 0; i < EACH; i++) await picture(path.join(folder, 'photos', name, `${i}.jpg`), i, label);
  }
  await picture(path.join(folder, 'new.jpg'), EACH, 0);
  const files = LABELS.flatMap((name) =>
    Array.from({ length: EACH }, (_, i) => ({ name, file: `photos/${name}/${i}.jpg` })),
  );
  writeFileSync(
    path.join(folder, 'list.csv'),
    `file,label\n${files.map(({ file, name }) => `${file},${name}`).join('\n')}\n`,
  );
  writeFileSync(
    path.join(folder, 'sizes.csv'),
    `file,target\n${files.map(({ file }, i) => `${file},${i * 1.5}`).join('\n')}\n`,
  );
  const net = await create('squeezenet1_1');
  await net.save(path.join(folder, 'squeezenet1_1.safetensors'));
  net.freeze();
  net.replaceHead({ labels: LABELS });
  await net.save(path.join(folder, 'vegetables.safetensors'));
  net.dispose();
  const small = await create('cifar_resnet20');
  await small.save(path.join(folder, 'cifar_resnet20.safetensors'));
  small.dispose();
  await furnishHub(path.join(folder, 'hub'));
  mkdirSync(path.join(folder, 'node_modules'));
  symlinkSync(ROOT, path.join(folder, 'node_modules', 'thaw'), 'dir');
  commands(path.join(folder, 'bin'), path.join(folder, 'squeezenet1_1.safetensors'));
}

/** The hub's cache directory with a stand-in for a model. */
async function furnishHub(cache: string): Promise<void> {
  const commit = '0123456789'.repeat(4);
  const model = path.join(cache, 'models--timm--resnet18.a1_in1k');
  for (const part of ['refs', `snapshots/${commit}`]) mkdirSync(path.join(model, part), { recursive: true });
  writeFileSync(path.join(model, 'refs', 'main'), commit);
  const net = await create('resnet18');
  await net.save(path.join(model, 'snapshots', commit, 'model.safetensors'));
  net.dispose();
}

/**
 * Commands that take the place of real ones: thaw runs (`--force`, since snippets of a page write the same files), curl gives
 * the stand-in for what it would fetch, npm and the rest of npx only check that what is asked for is there.
 */
function commands(bin: string, weights: string): void {
  const scripts = {
    thaw: `[ "$1" = fit ] && set -- "$@" --force\nexec "${process.execPath}" "${ROOT}/dist/cli/main.js" "$@"`,
    npx: '[ "$1" = thaw ] || exit 3\nshift\nexec thaw "$@"',
    curl: `[ "$#" = 2 ] && [ "$1" = -LO ] || exit 3
case "$2" in https://download.pytorch.org/models/*.pth) cp "${weights}" "$(basename "$2")" ;; *) exit 3 ;; esac`,
    npm: `case "$1" in
run) grep -q "\\"$2\\": " "${ROOT}/package.json" ;;
test) grep -q '"test": ' "${ROOT}/package.json" ;;
install) [ "$2" = ../thaw ] || [ "$2" = sharp ] ;;
*) exit 3 ;;
esac`,
  };
  mkdirSync(bin);
  for (const [name, script] of Object.entries(scripts)) {
    writeFileSync(path.join(bin, name), `#!/bin/sh\n${script}\n`);
    chmodSync(path.join(bin, name), 0o755);
  }
}
