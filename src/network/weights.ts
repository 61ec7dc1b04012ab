import { ThawError } from '../errors.js';
import { ELEMENT_BYTES } from '../formats/types.js';
import type { TensorEntry } from '../formats/types.js';
import type { NativeSession } from '../native.js';
import { elements } from './tensors.js';

/** Bytes read by one command: between two of them progress is reported. */
const CHUNK = 64 * 2 ** 20;

/** How far loading has come. */
export interface LoadProgress {
  /** Fetching files of the hub, or reading weights. */
  task: 'fetch' | 'read';
  /** Bytes so far, and in all. */
  loaded: number;
  total: number;
  /** The file that is fetched. */
  file?: string;
  /** Why nothing happens for a while: the hub asks to wait, or another process fetches the same file. */
  waiting?: string;
}

export interface ReadOptions {
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: LoadProgress) => void) | undefined;
}

/** Brings tensors of a file into the store under the names given (name in the network → entry). */
export async function readWeights(
  session: NativeSession,
  entries: Map<string, TensorEntry>,
  options: ReadOptions,
): Promise<void> {
  const total = [...entries.values()].reduce((sum, entry) => sum + bytesOf(entry), 0);
  let loaded = 0;
  for (const chunk of chunks(entries)) {
    checkAborted(options.signal);
    await readChunk(session, chunk, options.signal);
    loaded += chunk.reduce((sum, [, entry]) => sum + bytesOf(entry), 0);
    options.onProgress?.({ task: 'read', loaded, total });
  }
  checkAborted(options.signal);
}

export function checkAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new ThawError('ERR_ABORTED', 'loading was cancelled', { cause: signal.reason });
}

const bytesOf = ({ dtype, shape }: TensorEntry): number => ELEMENT_BYTES[dtype] * elements(shape);

/** Where an entry's bytes lie: a file, or '' for memory. */
const place = ({ source }: TensorEntry): string => ('path' in source ? source.path : '');

type Named = [name: string, entry: TensorEntry];

/** Runs of entries from one file, of at most `CHUNK` bytes (or one tensor). */
function chunks(entries: Map<string, TensorEntry>): Named[][] {
  const result: Named[][] = [];
  let [size, from] = [Infinity, ''];
  for (const [name, entry] of entries) {
    const bytes = bytesOf(entry);
    if (size + bytes > CHUNK || place(entry) !== from) {
      result.push([]);
      [size, from] = [0, place(entry)];
    }
    result.at(-1)!.push([name, entry]);
    size += bytes;
  }
  return result;
}

async function readChunk(session: NativeSession, chunk: Named[], signal: AbortSignal | undefined): Promise<void> {
  const options = signal ? { signal } : {};
  const described = chunk.map(([name, { dtype, shape, source }]) => {
    const strides = 'strides' in source ? source.strides : undefined;
    return { name, dtype, shape, ...(strides && { strides }) };
  });
  const path = place(chunk[0]![1]);
  if (path === '') {
    const buffers = chunk.map(([, { source }]) => ('bytes' in source ? source.bytes : (source as Uint8Array)));
    await session.submit('put', { tensors: described }, buffers, options);
    return;
  }
  const tensors = described.map((tensor, i) => {
    const { offset } = chunk[i]![1].source as { offset: number };
    return { ...tensor, offset };
  });
  await session.submit('read', { path, tensors }, [], options);
}
