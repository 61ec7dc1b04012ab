/** Weight files of any format that thaw reads, told by their content. */
import { readArchive } from './archive.js';
import { isCfg, isDarknetWeights, readDarknet } from './darknet.js';
import { fault } from './fault.js';
import { RangeFile } from './file.js';
import { isHdf5, readKerasH5 } from './keras-h5.js';
import { isOnnx, readOnnx } from './onnx.js';
import { isSafetensors, readSafetensors } from './safetensors.js';
import { isPickle, readTorchLegacy } from './torch-legacy.js';
import { isJson, readTfjs } from './tfjs.js';
import type { Checkpoint, OpenOptions } from './types.js';
import { isZip } from './zip.js';

export { safetensorsHeader } from './safetensors.js';
export * from './types.js';

interface Reader {
  accepts: (head: Buffer) => boolean;
  read: (file: RangeFile, options: OpenOptions) => Promise<Checkpoint>;
}

/** The first that accepts a file's beginning reads it. */
const READERS: Reader[] = [
  { accepts: isZip, read: readArchive },
  { accepts: isHdf5, read: readKerasH5 },
  { accepts: isPickle, read: readTorchLegacy },
  { accepts: isJson, read: readTfjs },
  { accepts: isOnnx, read: readOnnx },
  { accepts: isSafetensors, read: readSafetensors },
  { accepts: isCfg, read: readDarknet },
  { accepts: isDarknetWeights, read: readDarknet },
];

/** Beginnings of files that people take for weights. */
const KNOWN: [Buffer, string][] = [
  [Buffer.from('version https://git-lfs'), 'a Git LFS pointer in place of the file: fetch it with git lfs pull'],
  [Buffer.from('<'), 'a web page: the download went wrong'],
  [Buffer.from('{'), 'a JSON text'],
  [Buffer.from('GGUF'), 'a GGUF file'],
];

/**
 * Reads the description of a weight file: safetensors, torch.save's (zip and legacy), ONNX, TensorFlow.js, Keras (.h5
 * and .keras), Darknet or .npz. Tensors' bytes are read only where their form has to be changed first (HDF5,
 * compressed, quantized), and nothing in the file is executed. Throws ERR_FILE_NOT_FOUND, ERR_FILE_READ,
 * ERR_FILE_TRUNCATED, ERR_FORMAT_UNKNOWN, ERR_SAFETENSORS, ERR_TORCH_FILE, ERR_PICKLE_UNSAFE, ERR_ONNX,
 * ERR_ONNX_EXTERNAL, ERR_TFJS, ERR_KERAS, ERR_HDF5, ERR_HDF5_MISSING, ERR_DARKNET, ERR_NPZ, ERR_PATH_OUTSIDE,
 * ERR_ABORTED.
 */
export async function openCheckpoint(path: string, options: OpenOptions = {}): Promise<Checkpoint> {
  const file = await RangeFile.open(path, options.signal);
  try {
    const head = await file.read(0, Math.min(64, file.size), 'first bytes');
    const reader = READERS.find(({ accepts }) => accepts(head));
    if (reader) return await reader.read(file, options);
    const known = KNOWN.find(([start]) => head.subarray(0, start.length).equals(start));
    const formats = 'safetensors, a PyTorch file (.pth, .pt, .th), ONNX, TensorFlow.js, Keras, Darknet or .npz';
    throw fault('ERR_FORMAT_UNKNOWN', formats, `'${path}'`, known?.[1] ?? 'other bytes');
  } finally {
    await file.close();
  }
}
