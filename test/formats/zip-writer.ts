import { crc32, deflateRawSync } from 'node:zlib';

/** What a directory may say of a member that is not so. */
export interface ZipEntry {
  name: string;
  bytes: Uint8Array;
  deflate?: boolean;
  /** Size that the directory tells; default: the true one. */
  size?: number;
}

/** A zip archive with the members given. */
export function zip(entries: readonly ZipEntry[]): Buffer {
  const [bodies, directory]: [Buffer[], Buffer[]] = [[], []];
  let at = 0;
  for (const { name, bytes, deflate = false, size = bytes.length } of entries) {
    const packed = deflate ? deflateRawSync(bytes) : Buffer.from(bytes);
    const label = Buffer.from(name);
    const fields = Buffer.alloc(26);
    fields.writeUInt16LE(20, 0);
    fields.writeUInt16LE(deflate ? 8 : 0, 4);
    fields.writeUInt32LE(crc32(bytes), 10);
    fields.writeUInt32LE(packed.length, 14);
    fields.writeUInt32LE(size, 18);
    fields.writeUInt16LE(label.length, 22);
    const end = Buffer.alloc(14);
    end.writeUInt32LE(at, 10);
    bodies.push(Buffer.from('PK\x03\x04'), fields, label, packed);
    directory.push(Buffer.from('PK\x01\x02\x14\x00', 'latin1'), fields, end, label);
    at += 30 + label.length + packed.length;
  }
  const listed = Buffer.concat(directory);
  const tail = Buffer.alloc(22);
  tail.write('PK\x05\x06', 'latin1');
  tail.writeUInt16LE(entries.length, 8);
  tail.writeUInt16LE(entries.length, 10);
  tail.writeUInt32LE(listed.length, 12);
  tail.writeUInt32LE(at, 16);
  return Buffer.concat([...bodies, listed, tail]);
}
