import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
// `ERR_PICTURE_…` stands for several codes: what ends in a line is no code.
const CODE = /\bERR_[A-Z0-9]+(?:_[A-Z0-9]+)*\b(?!_)/g;
const SOURCE = /\.(ts|cpp|h|inc|def)$/;

function usedIn(folder: string): string[] {
  const files = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).filter((f) => SOURCE.test(f));
  return files.flatMap((file) => readFileSync(join(root, folder, file), 'utf8').match(CODE) ?? []);
}

describe('docs/errors.md', () => {
  const used = new Set(['src', 'cpp', 'binding'].flatMap(usedIn));
  const rows = readFileSync(join(root, 'docs/errors.md'), 'utf8').split('\n');
  const documented = rows.flatMap((row) => /^\| `(ERR_\w+)` \| .+ \| .+ \|$/.exec(row)?.[1] ?? []);

  it('has a row for every code that is thrown', () => {
    expect([...used].filter((code) => !documented.includes(code)).sort()).toEqual([]);
  });

  it('has no row for a code that nobody throws, and none twice', () => {
    expect(documented.filter((code) => !used.has(code))).toEqual([]);
    expect(documented.filter((code, i) => documented.indexOf(code) !== i)).toEqual([]);
  });
});
