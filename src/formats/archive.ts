/** What comes as a zip archive: torch.save's files, NumPy's .npz and Keras' .keras, told by their members. */
import type { RangeFile } from './file.js';
import { readKerasZip } from './keras-zip.js';
import { readNpz } from './npz.js';
import { readTorchZip } from './torch-zip.js';
import type { Checkpoint } from './types.js';
import { readDirectory } from './zip.js';

/** Throws what the readers of the three throw. */
export async function readArchive(file: RangeFile): Promise<Checkpoint> {
  const members = await readDirectory(file);
  if (members.has('config.json') && members.has('model.weights.h5')) return readKerasZip(file, members);
  const names = [...members.keys()];
  if (names.length > 0 && names.every((name) => name.endsWith('.npy'))) return readNpz(file, members);
  return readTorchZip(file);
}
