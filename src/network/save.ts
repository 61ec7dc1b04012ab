import { expected, ThawError } from '../errors.js';
import { safetensorsHeader } from '../formats/checkpoint.js';
import { ELEMENT_BYTES } from '../formats/types.js';
import { tensors } from './graph-edit.js';
import { writeMetadata } from './metadata.js';
import type { Network } from './network.js';
import type { StoredTensor } from './store.js';

/** Options of `net.save`. */
export interface SaveOptions {
  /** More strings for the file's metadata. Names beginning with `thaw.` are thaw's own. */
  metadata?: Record<string, string>;
  signal?: AbortSignal;
}

/** A step of training may give a tensor another type between two commands; then the header is made anew. */
const ATTEMPTS = 5;

/** See `Network.save`. */
export async function saveNetwork(net: Network, path: string, options: SaveOptions): Promise<void> {
  net.assertAlive();
  if (typeof path !== 'string' || path === '') throw expected('ERR_PATH', 'the path of a file', 'save', path);
  for (let attempt = 1; ; attempt++) {
    try {
      return await write(net, path, options);
    } catch (error) {
      if (attempt === ATTEMPTS || (error as { code?: string }).code !== 'ERR_TENSOR_CHANGED') throw error;
    }
  }
}

async function write(net: Network, path: string, { metadata, signal }: SaveOptions): Promise<void> {
  const stored = ordered(net, await net.store.list(signal));
  const header = safetensorsHeader(stored, { ...checkStrings(metadata), ...writeMetadata(net) });
  const described = stored.map(({ dtype, shape }) => ({ dtype, shape }));
  const request = { path, tensors: stored.map(({ name }) => name), expected: described };
  await net.session.submit('write', request, [header], signal ? { signal } : {});
}

/** The network's own tensors (not the optimizer's), wide types first so that every tensor is aligned. */
function ordered(net: Network, all: StoredTensor[]): StoredTensor[] {
  const byName = new Map(all.map((tensor) => [tensor.name, tensor]));
  const own = tensors(net.graph).map(({ name }) => {
    const found = byName.get(name);
    if (!found)
      throw new ThawError('ERR_NO_TENSOR', `expected tensor '${name}' in the network '${net.name}', received none`);
    return found;
  });
  return own.sort((a, b) => ELEMENT_BYTES[b.dtype] - ELEMENT_BYTES[a.dtype]);
}

function checkStrings(metadata: Record<string, string> = {}): Record<string, string> {
  for (const [name, value] of Object.entries(metadata)) {
    if (typeof value !== 'string') throw expected('ERR_OPTION', 'a string', `metadata '${name}'`, value);
    if (name.startsWith('thaw.'))
      throw expected('ERR_OPTION', "names that do not begin with 'thaw.'", 'metadata', name);
  }
  return metadata;
}
