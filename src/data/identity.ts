/** What a sample is: digests of its content, the same in every process. */
import { webcrypto } from 'node:crypto';

import type { CoreAugment } from './augment.js';
import type { RawPicture, Tensor } from './types.js';

const hex = (digest: ArrayBuffer): string => Buffer.from(digest).toString('hex');

async function sha256(bytes: Uint8Array): Promise<string> {
  return hex(await webcrypto.subtle.digest('SHA-256', bytes as webcrypto.BufferSource));
}

/** SHA-256 of a picture's bytes (of shape and pixels where it is decoded already), computed off this thread. */
export async function contentId(source: Uint8Array | RawPicture): Promise<string> {
  if (source instanceof Uint8Array) return sha256(source);
  const shape = Buffer.from(`${source.width} ${source.height} ${source.channels} `);
  return sha256(Buffer.concat([shape, source.data]));
}

/** SHA-256 of named tensors: names, types, shapes and elements. */
export async function tensorsId(tensors: Readonly<Record<string, Tensor>>): Promise<string> {
  const parts = Object.entries(tensors)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([name, { data, shape }]) => {
      const head = `${JSON.stringify([name, data.constructor.name, shape])}\n`;
      return [Buffer.from(head), new Uint8Array(data.buffer, data.byteOffset, data.byteLength)];
    });
  return sha256(Buffer.concat(parts));
}

/** What the random draws of augmentation depend on beside sample and version, in a few letters. */
export async function variantId(augment: CoreAugment, seed: number): Promise<string> {
  return (await sha256(Buffer.from(JSON.stringify([augment, seed])))).slice(0, 16);
}
