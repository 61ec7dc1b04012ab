import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { furnish, javascript, ROOT, snippetsOf, typeErrors } from './snippets.js';
import type { Snippet } from './snippets.js';

const run = promisify(execFile);
const guides = readdirSync(path.join(ROOT, 'docs')).filter((file) => file.endsWith('.md'));
const pages = ['README.md', 'CONTRIBUTING.md', ...guides.map((file) => `docs/${file}`)];
const all = pages.flatMap(snippetsOf);

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'thaw-docs-'));
  await furnish(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function execute(snippet: Snippet, cwd: string): Promise<void> {
  const PATH = `${path.join(cwd, 'bin')}:${process.env['PATH']}`;
  const hub = { HF_HUB_CACHE: path.join(folder, 'hub'), HF_HUB_OFFLINE: '1' };
  const env = { ...process.env, PATH, XDG_CACHE_HOME: cwd, ...hub };
  if (snippet.language === 'sh') return void (await run('sh', ['-e', '-c', snippet.code], { cwd, env }));
  writeFileSync(path.join(cwd, 'snippet.mjs'), javascript(snippet));
  await run(process.execPath, ['snippet.mjs'], { cwd, env });
}

describe('snippets of the documentation', () => {
  it('are found', () => {
    expect(all.length).toBeGreaterThan(30);
  });

  it('have right types', () => {
    const checked = all.filter(({ language }) => language === 'ts');
    expect(typeErrors(folder, checked)).toEqual([]);
  });

  // Snippets of a page run in its order in one folder: later ones use what earlier ones wrote.
  describe.each(pages.filter((page) => snippetsOf(page).length > 0))('%s', (page) => {
    const snippets = snippetsOf(page);
    const place = page.replaceAll(/\W/g, '-');
    const filter = (source: string): boolean => source !== path.join(folder, 'hub');
    beforeAll(() => cpSync(folder, `${folder}-${place}`, { recursive: true, filter }));
    afterAll(() => rmSync(`${folder}-${place}`, { recursive: true, force: true }));

    it.each(snippets.map((snippet) => [snippet.where, snippet] as const))('%s runs', async (_, snippet) => {
      await execute(snippet, `${folder}-${place}`);
    });
  });
});
