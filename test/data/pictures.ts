import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import sharp from 'sharp';

import type { PictureSession } from '../../src/data/types.js';

/** A small JPEG of one colour. */
export function jpeg(red: number, green = 0, blue = 0, size = 16): Promise<Buffer> {
  const background = { r: red % 256, g: green % 256, b: blue % 256 };
  return sharp({ create: { width: size, height: size, channels: 3, background } })
    .jpeg()
    .toBuffer();
}

/** Writes files below a folder: pictures of different colours where the content is a number, else the text. */
export async function writeTree(root: string, files: Record<string, number | string>): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    const path = join(root, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, typeof content === 'number' ? await jpeg(content, content * 7, content >> 4) : content);
  }
}

/** `count` pictures of a label, all different. */
export function many(folder: string, count: number, first: number): Record<string, number> {
  return Object.fromEntries(
    Array.from({ length: count }, (_, i) => [`${folder}/${String(i).padStart(3, '0')}.jpg`, first + i]),
  );
}

/** Stands in for the core: every picture becomes its first byte, 1 x 1 pixel. Remembers what it was asked. */
export function fakeSession(): PictureSession & { requests: { items: unknown[]; samples?: number[] }[] } {
  const requests: { items: unknown[]; samples?: number[] }[] = [];
  return {
    requests,
    submit(_command, request, buffers = []) {
      requests.push(request as (typeof requests)[number]);
      const values = Float32Array.from(buffers, (bytes) => (bytes as Uint8Array)[0]!);
      return Promise.resolve({ reply: { shape: [buffers.length, 1, 1, 1] }, buffers: [values.buffer as ArrayBuffer] });
    },
  };
}
