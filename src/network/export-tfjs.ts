import { mkdir, open, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { expected, ThawError } from '../errors.js';
import { SHARD, turned, writeTfjs } from '../formats/tfjs-export.js';
import type { TfjsModel } from '../formats/tfjs-export.js';
import { shapesOf, weightsOf } from './export-parts.js';
import { writePortable } from './metadata.js';
import type { Network } from './network.js';
import { checkAborted } from './weights.js';

/** Options of `exportTfjs`. */
export interface ExportTfjsOptions {
  signal?: AbortSignal;
}

/**
 * Writes what a network computes in inference as a layers model of TensorFlow.js: a folder with `model.json` and files of
 * weights (f32) of 4 MB each, which `tf.loadLayersModel` reads. Pictures are [N, height, width, channels] there; the
 * batch is any size, and so are height and width unless the network is bound to one. Outputs are scores, as those of
 * `forward`. Labels and preprocessing go into `userDefinedMetadata` as JSON: `thaw.labels`, `thaw.preprocessing`.
 * Weights are taken as they are at one moment; a copy of them is held in memory meanwhile. The folder must be new or
 * empty; it is written beside and then renamed, so that it is there whole or not at all.
 * @returns the bytes written
 * @throws ERR_TFJS_EXPORT for what TensorFlow.js has no layer for (the message names the node), such as a convolution in
 *   groups; ERR_PATH, ERR_FILE_WRITE, ERR_ABORTED
 */
export async function exportTfjs(
  net: Network,
  folder: string,
  { signal }: ExportTfjsOptions = {},
): Promise<{ bytes: number }> {
  net.assertAlive();
  if (typeof folder !== 'string' || folder === '')
    throw expected('ERR_PATH', 'the path of a folder', 'exportTfjs', folder);
  const model = writeTfjs(net.graph, await shapesOf(net, signal), writePortable(net));
  const names = model.weights.flatMap(({ from }) => (Array.isArray(from) ? [] : [from.tensor]));
  const tensors = await weightsOf(net, [...new Set(names)], signal);
  const beside = `${path.resolve(folder)}.${process.pid}.partial`;
  try {
    await mkdir(beside);
    const bytes = await writeShards(beside, model, tensors, signal);
    await writeFile(path.join(beside, 'model.json'), [Buffer.from(model.json)]);
    await rename(beside, folder);
    return { bytes: bytes + Buffer.byteLength(model.json) };
  } catch (cause) {
    await rm(beside, { recursive: true, force: true }).catch(() => undefined);
    if (cause instanceof ThawError) throw cause;
    const reason = (cause as NodeJS.ErrnoException).code ?? String(cause);
    const found = reason === 'ENOTEMPTY' || reason === 'EEXIST' ? 'a folder that has something in it' : reason;
    throw new ThawError('ERR_FILE_WRITE', `expected to write a new folder '${folder}', received ${found}`, { cause });
  }
}

async function writeShards(
  folder: string,
  model: TfjsModel,
  tensors: Map<string, Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<number> {
  let [pending, size, total, next]: [Uint8Array[], number, number, number] = [[], 0, 0, 0];
  const flush = async (): Promise<void> => {
    await writeFile(path.join(folder, model.files[next++]!), pending);
    [pending, size] = [[], 0];
  };
  for (const piece of pieces(model, tensors)) {
    checkAborted(signal);
    for (let at = 0; at < piece.length;) {
      const part = piece.subarray(at, at + SHARD - size);
      pending.push(part);
      at += part.length;
      size += part.length;
      total += part.length;
      if (size === SHARD) await flush();
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (next < model.files.length) await flush();
  return total;
}

function* pieces({ weights }: TfjsModel, tensors: Map<string, Uint8Array>): Generator<Uint8Array> {
  for (const { from } of weights) {
    const values = Array.isArray(from) ? [Float32Array.from(from)] : turnedTensor(from, tensors);
    for (const { buffer, byteOffset, byteLength } of values) yield new Uint8Array(buffer, byteOffset, byteLength);
  }
}

function turnedTensor(
  { tensor, view, perm }: { tensor: string; view: number[]; perm: number[] },
  tensors: Map<string, Uint8Array>,
): Generator<Float32Array> {
  const bytes = tensors.get(tensor)!;
  return turned(new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4), view, perm);
}

async function writeFile(name: string, parts: Uint8Array[]): Promise<void> {
  const file = await open(name, 'w');
  try {
    for (const part of parts) await file.writeFile(part);
    await file.sync();
  } finally {
    await file.close();
  }
}
