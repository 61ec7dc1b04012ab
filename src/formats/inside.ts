import { realpath } from 'node:fs/promises';
import path from 'node:path';
import { fault } from './fault.js';

/**
 * The path of a file that a model names. It must lie in the model's own folder or below, symbolic links followed; where the
 * model is a link itself, in the folder of what it leads to (the hub's cache has all contents in one).
 * Throws ERR_PATH_OUTSIDE, ERR_FILE_NOT_FOUND.
 */
export async function besideModel(model: string, name: string): Promise<string> {
  const outside = (received: string): Error =>
    fault('ERR_PATH_OUTSIDE', 'a file in the folder of the model', `'${model}'`, received);
  if (name === '' || name.includes('\0') || name.includes('\\') || path.posix.isAbsolute(name))
    throw outside(JSON.stringify(name));
  const folder = await realpath(path.dirname(model));
  let found: string;
  try {
    found = await realpath(path.join(folder, name));
  } catch {
    const missing = path.relative(folder, path.join(folder, name)).startsWith('..');
    if (missing) throw outside(JSON.stringify(name));
    throw fault('ERR_FILE_NOT_FOUND', `'${name}' in its folder`, `'${model}'`, 'no such file');
  }
  const beside =
    isBelow(folder, path.join(folder, name)) && path.dirname(found) === path.dirname(await realpath(model));
  if (!beside && !isBelow(folder, found)) throw outside(JSON.stringify(name));
  return found;
}

function isBelow(folder: string, file: string): boolean {
  const relative = path.relative(folder, file);
  return !relative.startsWith('..') && !path.isAbsolute(relative);
}
