/** For tests whose programs run in processes of their own. */
import { existsSync, mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';

const root = path.resolve(import.meta.dirname, '..');

/** Makes a package of `folder`: the present sources, compiled into dist/, and the binary of this one. */
export function compiledPackage(folder: string): void {
  const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string };
  writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ name: 'thaw', type: 'module', version }));
  const compilerOptions = { module: ts.ModuleKind.ES2022, target: ts.ScriptTarget.ES2022 };
  for (const name of readdirSync(path.join(root, 'src'), { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.ts')) continue;
    const file = path.join(folder, 'dist', name.replace(/\.ts$/, '.js'));
    mkdirSync(path.dirname(file), { recursive: true });
    const source = readFileSync(path.join(root, 'src', name), 'utf8');
    writeFileSync(file, ts.transpileModule(source, { compilerOptions }).outputText);
  }
  for (const name of ['node_modules', 'build', 'prebuilds']) {
    if (existsSync(path.join(root, name))) symlinkSync(path.join(root, name), path.join(folder, name), 'dir');
  }
}
