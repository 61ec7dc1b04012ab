/**
 * torch.save since PyTorch 1.6: a zip archive with members stored as they are, below one folder of any name: data.pkl
 * (the object, tensors by reference), byteorder, data/<key> (storages). Source: caffe2/serialize/inline_container.h.
 */
import { fault } from './fault.js';
import type { RangeFile } from './file.js';
import { readPickle } from './pickle.js';
import { collect, torchWorld, type FindStorage } from './torch.js';
import type { Checkpoint } from './types.js';
import { contentOffset, type ZipMember } from './zip.js';

const MAX_PICKLE = 1 << 26;
const PICKLE = 'data.pkl';

/** Throws ERR_FORMAT_UNKNOWN for other zip archives, ERR_TORCH_FILE, ERR_PICKLE_UNSAFE, ERR_FILE_TRUNCATED. */
export async function readTorchZip(file: RangeFile, members: Map<string, ZipMember>): Promise<Checkpoint> {
  const pickle = [...members.values()].find(({ name }) => name === PICKLE || /^[^/]+\/data\.pkl$/.test(name));
  if (!pickle) throw fault('ERR_FORMAT_UNKNOWN', 'a weight file', `'${file.path}'`, 'a zip archive without data.pkl');
  const root = pickle.name.slice(0, -PICKLE.length);
  await checkByteOrder(file, members.get(`${root}byteorder`));
  if (pickle.size > MAX_PICKLE) throw fail(file, `data.pkl of at most ${MAX_PICKLE} bytes`, `${pickle.size} bytes`);
  const { value } = readPickle(await contents(file, pickle), 0, torchWorld());
  const find: FindStorage = async (key) => {
    const member = members.get(`${root}data/${key}`);
    if (!member) throw fail(file, `a member data/${key}`, 'none');
    return { offset: await contentOffset(file, member, 'ERR_TORCH_FILE'), bytes: member.size };
  };
  return collect(file, 'torch-zip', value, find);
}

function fail(file: RangeFile, what: string, received: string): Error {
  return fault('ERR_TORCH_FILE', what, `'${file.path}'`, received);
}

async function contents(file: RangeFile, member: ZipMember): Promise<Buffer> {
  return file.read(await contentOffset(file, member, 'ERR_TORCH_FILE'), member.size, `'${member.name}'`);
}

async function checkByteOrder(file: RangeFile, member: ZipMember | undefined): Promise<void> {
  if (!member || member.size > 16) return;
  const order = (await contents(file, member)).toString('latin1');
  if (order !== 'little') throw fail(file, 'little-endian numbers', order);
}
