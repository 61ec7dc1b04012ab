/** What comes as a zip archive: torch.save's files, NumPy's .npz and Keras' .keras, told by their members. */
import type { RangeFile } from './file.js';
import { readKerasZip } from './keras-zip.js';
import { readNpz } from './npz.js';
import { readTorchZip } from './torch-zip.js';
import type { Checkpoint, OpenOptions } from './types.js';
import { firstName, readDirectory } from './zip.js';

/** Throws what the readers of the three throw. */
export async function readArchive(file: RangeFile, options: OpenOptions): Promise<Checkpoint> {
  const members = await readDirectory(file, codeOf(await firstName(file)));
  if (members.has(CONFIG) && members.has(WEIGHTS)) return readKerasZip(file, members, options);
  const names = [...members.keys()];
  if (names.length > 0 && names.every((name) => name.endsWith('.npy'))) return readNpz(file, members);
  return readTorchZip(file, members);
}

const CONFIG = 'config.json';
const WEIGHTS = 'model.weights.h5';

/** Of an archive whose directory is damaged the first member alone tells what it was. */
function codeOf(first: string): string {
  if (['metadata.json', CONFIG, WEIGHTS].includes(first)) return 'ERR_KERAS';
  return first.endsWith('.npy') ? 'ERR_NPZ' : 'ERR_TORCH_FILE';
}
