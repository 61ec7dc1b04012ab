import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = process.env['THAW_SHARED'] ?? join(dirname(fileURLToPath(import.meta.url)), '../../shared');
let told = false;

/**
 * A path in the folder of real weights and pictures that lies beside the project or where THAW_SHARED points; undefined,
 * once with a word on the console, where it is not there: `it.skipIf(!path)`.
 */
export function sharedPath(...parts: string[]): string | undefined {
  const path = join(root, ...parts);
  if (existsSync(path)) return path;
  if (!told) console.log(`skipped: no shared data (${path})`);
  told = true;
  return undefined;
}
