import { open, rename, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { expected, ThawError } from '../errors.js';
import { writeOnnx } from '../formats/onnx-export.js';
import { shapesOf, weightsOf } from './export-parts.js';
import { writePortable } from './metadata.js';
import type { Network } from './network.js';
import { checkAborted } from './weights.js';

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
  const names = pieces.flatMap((piece) => (piece instanceof Uint8Array ? [] : [piece.tensor]));
  const tensors = await weightsOf(net, names, options.signal);
  await writeBeside(path, async (file) => {
    for (const piece of pieces) {
      checkAborted(options.signal);
      await file.writeFile(piece instanceof Uint8Array ? piece : tensors.get(piece.tensor)!);
    }
  });
  const bytes = pieces.reduce((sum, piece) => sum + (piece instanceof Uint8Array ? piece.length : piece.bytes), 0);
  return { bytes };
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
