import { open, rename, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { expected, ThawError } from '../errors.js';
import { writeOnnx } from '../formats/onnx-export.js';
import type { Piece } from '../formats/onnx-export.js';
import { writePortable } from './metadata.js';
import type { Network } from './network.js';
import { checkAborted } from './weights.js';
import type { ValueDescription } from './types.js';

/** Options of `exportOnnx`. */
export interface ExportOnnxOptions {
  /** More strings for the file's metadata. Names beginning with `thaw.` are thaw's own. */
  metadata?: Record<string, string>;
  signal?: AbortSignal;
}

/**
 * Writes what a network computes in inference as an ONNX model (opset 17, f32), which onnxruntime and others run in
 * browsers, on phones and servers with the same numbers. Inputs and outputs keep their names; the batch is any size, and
 * so are height and width unless the network has an adaptive pool to more than 1 x 1. Outputs are scores, as those of
 * `forward`. Labels and preprocessing go into `metadata_props` as JSON: `thaw.labels`, `thaw.preprocessing`.
 * Weights are taken as they are at one moment, also while a fit runs; a copy of them is held in memory meanwhile.
 * Written beside, then renamed: an existing file is replaced whole or not at all.
 * @returns the bytes written
 * @throws ERR_ONNX_EXPORT for an operator that ONNX has no words for, and for more than 2 GB; ERR_PATH, ERR_OPTION,
 *   ERR_FILE_WRITE, ERR_ABORTED
 */
export async function exportOnnx(
  net: Network,
  path: string,
  options: ExportOnnxOptions = {},
): Promise<{ bytes: number }> {
  net.assertAlive();
  if (typeof path !== 'string' || path === '') throw expected('ERR_PATH', 'the path of a file', 'exportOnnx', path);
  for (const [name, value] of Object.entries(options.metadata ?? {})) {
    if (typeof value !== 'string' || name.startsWith('thaw.'))
      throw expected('ERR_OPTION', "strings whose names do not begin with 'thaw.'", 'metadata', name);
  }
  const metadata = { ...options.metadata, ...writePortable(net) };
  const pieces = writeOnnx(net.graph, await shapesOf(net, options.signal), metadata);
  const tensors = await weights(net, pieces, options.signal);
  await writeBeside(path, async (file) => {
    for (const piece of pieces) {
      checkAborted(options.signal);
      await file.writeFile(piece instanceof Uint8Array ? piece : tensors.get(piece.tensor)!);
    }
  });
  const bytes = pieces.reduce((sum, piece) => sum + (piece instanceof Uint8Array ? piece.length : piece.bytes), 0);
  return { bytes };
}

/** Shapes of all values for one sample. Sizes that the graph leaves open are those that the network was made for. */
async function shapesOf(net: Network, signal: AbortSignal | undefined): Promise<Map<string, ValueDescription>> {
  const sizes: Record<string, number> = { N: 1, H: net.input?.height ?? 224, W: net.input?.width ?? 224 };
  const inputs = Object.fromEntries(
    net.graph.inputs.map(({ name, shape }) => [
      name,
      shape.map((size) => (typeof size === 'number' ? size : (sizes[size] ?? 1))),
    ]),
  );
  await net.store.settled();
  const request = { graph: net.graph, mode: 'infer', inputs };
  const { reply } = await net.session.submit('compile', request, [], signal ? { signal } : {});
  const { values } = reply as { values: ValueDescription[] };
  const known = new Map(values.map((value) => [value.name, value]));
  for (const { name, dtype } of net.graph.inputs) known.set(name, { name, dtype, shape: inputs[name]! });
  return known;
}

/** All tensors that the file holds, as f32, by one command: no training step falls between two of them. */
async function weights(
  net: Network,
  pieces: Piece[],
  signal: AbortSignal | undefined,
): Promise<Map<string, Uint8Array>> {
  const names = pieces.flatMap((piece) => (piece instanceof Uint8Array ? [] : [piece.tensor]));
  const { buffers } = await net.session.submit('get', { names, as: 'f32' }, [], signal ? { signal } : {});
  return new Map(names.map((name, i) => [name, new Uint8Array(buffers[i]!)]));
}

async function writeBeside(path: string, write: (file: FileHandle) => Promise<void>): Promise<void> {
  const beside = `${path}.${process.pid}.partial`;
  try {
    const file = await open(beside, 'w');
    try {
      await write(file);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(beside, path);
  } catch (cause) {
    await rm(beside, { force: true }).catch(() => undefined);
    if (cause instanceof ThawError) throw cause;
    const reason = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw new ThawError('ERR_FILE_WRITE', `expected to write '${path}', received ${reason}`, { cause });
  }
}
