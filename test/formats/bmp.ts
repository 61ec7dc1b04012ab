import { readFileSync } from 'node:fs';

/** Pixels of an uncompressed 24-bit or 32-bit .bmp: RGB, rows from the top. */
export function readBmp(file: string): { width: number; height: number; data: Uint8Array } {
  const bytes = readFileSync(file);
  const [start, width, tall, bits] = [
    bytes.readUInt32LE(10),
    bytes.readInt32LE(18),
    bytes.readInt32LE(22),
    bytes.readUInt16LE(28),
  ];
  const [height, step] = [Math.abs(tall), bits / 8];
  const row = Math.ceil((width * step) / 4) * 4;
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let c = 0; c < 3; c++)
        data[(y * width + x) * 3 + c] = bytes[start + (tall > 0 ? height - 1 - y : y) * row + x * step + 2 - c]!;
  return { width, height, data };
}
