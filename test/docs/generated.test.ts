import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { GENERATED, withPart } from './generated.js';

/** `UPDATE_DOCS=1 npx vitest run test/docs/generated.test.ts` writes what the source says now. */
const UPDATE = process.env['UPDATE_DOCS'] === '1';

describe.each(Object.entries(GENERATED))('%s', (file, parts) => {
  const path = fileURLToPath(new URL(`../../${file}`, import.meta.url));

  it.each(Object.entries(parts))('says of %s what the source says', (name, part) => {
    const text = readFileSync(path, 'utf8');
    const wanted = withPart(text, name, part);
    if (UPDATE) writeFileSync(path, wanted);
    else expect(text).toBe(wanted);
  });
});
