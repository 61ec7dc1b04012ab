import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from './snippets.js';

const guides = readdirSync(path.join(ROOT, 'docs')).filter((file) => file.endsWith('.md'));
const pages = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', ...guides.map((file) => `docs/${file}`)];

/** GitHub's anchors of the headings of a page. */
function anchors(text: string): string[] {
  const headings = text.replaceAll(/^```[^]*?^```$/gm, '').matchAll(/^#+ (.+)$/gm);
  return [...headings].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );
}

describe('links of the documentation', () => {
  it.each(pages)('%s leads somewhere', (page) => {
    const text = readFileSync(path.join(ROOT, page), 'utf8');
    const lost = [...text.matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)/g)].filter(([, file, anchor]) => {
      const target = file ? path.join(ROOT, path.dirname(page), file) : path.join(ROOT, page);
      if (!existsSync(target)) return true;
      return anchor !== undefined && !anchors(readFileSync(target, 'utf8')).includes(anchor);
    });
    expect(lost.map(([link]) => link)).toEqual([]);
  });

  it('README links every guide', () => {
    const text = readFileSync(path.join(ROOT, 'README.md'), 'utf8');
    expect(guides.filter((file) => !text.includes(`docs/${file}`))).toEqual([]);
  });
});
