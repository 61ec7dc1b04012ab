import { open, rename, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { expected, ThawError } from '../errors.js';
import { bytesOf, writeOnnx } from '../formats/onnx-export.js';
import type { Piece } from '../formats/onnx-export.js';
import { shapesOf, weightsOf } from './export-parts.js';
import { writePortable } from './metadata.js';
import type { Network } from './network.js';
import { checkAborted } from './weights.js';

/** Options of `exportOnnx`. */
export interface ExportOnnxOptions {
  /** More strings for the file's metadata. Names beginning with `thaw.` are thaw's own. */
  metadata?: Record<string, string>;
  /**
   * true: the weights lie in a file of their own beside the model, PATH.data, which the model names. Default: where the model
   * would be larger than 2 GB, which no reader takes.
   */
  externalData?: boolean;
  signal?: AbortSignal;
}

/**
 * Writes what a network computes in inference as an ONNX model (opset 17, f32), which onnxruntime and others run in
 * browsers, on phones and servers with the same numbers. Inputs and outputs keep their names; the batch is any size, and
 * so are height and width unless the network has an adaptive pool to more than 1 x 1. Outputs are scores, as those of
 * `forward`. Labels and preprocessing go into `metadata_props` as JSON: `thaw.labels`, `thaw.preprocessing`.
 * Weights are taken as they are at one moment, also while a fit runs; a copy of them is held in memory meanwhile.
 * Written beside, then renamed: an existing file is replaced whole or not at all.
 * @returns the bytes written, external data included
 * @throws ERR_ONNX_EXPORT for an operator that ONNX has no words for; ERR_PATH, ERR_OPTION, ERR_FILE_WRITE, ERR_ABORTED
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
  const shapes = await shapesOf(net, options.signal);
  const beside = `${path}.data`;
  const { model, data } = writeOnnx(net.graph, shapes, metadata, basename(beside), options.externalData);
  const files =
    data.length > 0
      ? [
          { path: beside, pieces: data },
          { path, pieces: model },
        ]
      : [{ path, pieces: model }];
  const pieces = files.flatMap((file) => file.pieces);
  const names = pieces.flatMap((piece) => (piece instanceof Uint8Array ? [] : [piece.tensor]));
  const tensors = await weightsOf(net, names, options.signal);
  await writeBeside(files, async (file, piece) => {
    checkAborted(options.signal);
    await file.writeFile(piece instanceof Uint8Array ? piece : tensors.get(piece.tensor)!);
  });
  return { bytes: bytesOf(pieces) };
}

const partial = (path: string): string => `${path}.${process.pid}.partial`;

/** Renames only when all are written. */
async function writeBeside(
  files: readonly { path: string; pieces: Piece[] }[],
  write: (file: FileHandle, piece: Piece) => Promise<void>,
): Promise<void> {
  let writing = '';
  try {
    for (const { path, pieces } of files) {
      writing = path;
      const file = await open(partial(path), 'w');
      try {
        for (const piece of pieces) await write(file, piece);
        await file.sync();
      } finally {
        await file.close();
      }
    }
    for (const { path } of files) await rename(partial(path), (writing = path));
  } catch (cause) {
    for (const { path } of files) await rm(partial(path), { force: true }).catch(() => undefined);
    if (cause instanceof ThawError) throw cause;
    const reason = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw new ThawError('ERR_FILE_WRITE', `expected to write '${writing}', received ${reason}`, { cause });
  }
}
