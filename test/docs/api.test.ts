import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { expect, it } from 'vitest';
import { ROOT } from './snippets.js';

it('every public name is documented, and every link of the API reference leads somewhere', () => {
  const typedoc = path.join(ROOT, 'node_modules/typedoc/bin/typedoc');
  const args = [typedoc, '--emit', 'none', '--skipErrorChecking', '--logLevel', 'Warn'];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' });
  expect({ said: stdout + stderr, status }).toEqual({ said: '', status: 0 });
});
