import { RangeFile } from '../../src/formats/file.js';
import { memberBytes } from '../../src/formats/unzip.js';
import { readDirectory } from '../../src/formats/zip.js';
import type { ZipEntry } from './zip-writer.js';

/** All members of an archive. */
export async function unzipped(path: string): Promise<ZipEntry[]> {
  const file = await RangeFile.open(path);
  try {
    const members = [...(await readDirectory(file, 'ERR_TORCH_FILE')).values()];
    return await Promise.all(
      members.map(async (member) => ({ name: member.name, bytes: await memberBytes(file, member, 'ERR_TORCH_FILE') })),
    );
  } finally {
    await file.close();
  }
}
