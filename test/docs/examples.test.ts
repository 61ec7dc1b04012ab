import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const run = promisify(execFile);
const folder = fileURLToPath(new URL('../../examples', import.meta.url));

/** What an example says where it has done its work. */
const SAYS: Record<string, RegExp> = {
  'fine-tune.mjs': /^\d+ epochs, validation accuracy \d/m,
  'head-only.mjs': /^validation accuracy (0\.[6-9]|1)[^]*probability (0\.|1)/m,
  'own-data.mjs': /^20 (0\.[6-9]|1)/m,
  'own-network.mjs': /^(1[89]\d|200) of 200 new points/m,
  'regression.mjs': /R2 (0\.[5-9]|1)[^]*radius of a disc of radius 12: 1[0-4]/,
  'resume.mjs': /never stopped +(\w+)[^]*resumed +\1/,
  'server.mjs': /^200 [^]*^400 [^]*ERR_PICTURE_FORMAT/m,
};

describe('examples', () => {
  it('are all known here', () => {
    const files = readdirSync(folder).filter((file) => file.endsWith('.mjs'));
    expect(files.sort()).toEqual(Object.keys(SAYS));
  });

  it.each(Object.entries(SAYS))('%s does its work without a warning', async (file, says) => {
    const { stdout, stderr } = await run(process.execPath, [path.join(folder, file)]);
    expect(stdout).toMatch(says);
    expect(stderr).toBe('');
  });
});
