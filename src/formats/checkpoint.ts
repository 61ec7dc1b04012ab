/** Weight files of any format that thaw reads, told by their content. */
import { fault } from './fault.js';
import { RangeFile } from './file.js';
import { isOnnx, readOnnx } from './onnx.js';
import { isSafetensors, readSafetensors } from './safetensors.js';
import { isPickle, readTorchLegacy } from './torch-legacy.js';
import { readTorchZip } from './torch-zip.js';
import type { Checkpoint, OpenOptions } from './types.js';
import { isZip } from './zip.js';

export { safetensorsHeader } from './safetensors.js';
export * from './types.js';

const READERS: { accepts: (head: Buffer) => boolean; read: (file: RangeFile) => Promise<Checkpoint> }[] = [
  { accepts: isZip, read: readTorchZip },
  { accepts: isPickle, read: readTorchLegacy },
  { accepts: isOnnx, read: readOnnx },
  { accepts: isSafetensors, read: readSafetensors },
];

/** Beginnings of files that people take for weights. */
const KNOWN: [Buffer, string][] = [
  [Buffer.from('\x89HDF\r\n', 'latin1'), 'an HDF5 file (Keras)'],
  [Buffer.from('version https://git-lfs'), 'a Git LFS pointer in place of the file: fetch it with git lfs pull'],
  [Buffer.from('<'), 'a web page: the download went wrong'],
  [Buffer.from('{'), 'a JSON text'],
  [Buffer.from('GGUF'), 'a GGUF file'],
];

/**
 * Reads the description of a weight file: safetensors, torch.save's (zip and legacy), or ONNX. No tensor's bytes are read and
 * nothing in the file is executed. Throws ERR_FILE_NOT_FOUND, ERR_FILE_READ, ERR_FILE_TRUNCATED, ERR_FORMAT_UNKNOWN,
 * ERR_SAFETENSORS, ERR_ONNX, ERR_ONNX_EXTERNAL, ERR_TORCH_FILE, ERR_PICKLE_UNSAFE, ERR_ABORTED.
 */
export async function openCheckpoint(path: string, options: OpenOptions = {}): Promise<Checkpoint> {
  const file = await RangeFile.open(path, options.signal);
  try {
    const head = await file.read(0, Math.min(64, file.size), 'first bytes');
    const reader = READERS.find(({ accepts }) => accepts(head));
    if (reader) return await reader.read(file);
    const known = KNOWN.find(([start]) => head.subarray(0, start.length).equals(start));
    const formats = 'safetensors, a PyTorch file (.pth, .pt, .th) or ONNX';
    throw fault('ERR_FORMAT_UNKNOWN', formats, `'${path}'`, known?.[1] ?? 'other bytes');
  } finally {
    await file.close();
  }
}
