import sharp from 'sharp';
import type { Tensor } from '../../src/index.js';

/** A picture as it is, [1, 3, H, W] of 0..255. */
export async function decode(file: string): Promise<Tensor> {
  const { data, info } = await sharp(file)
    .removeAlpha()
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true });
  const plane = info.width * info.height;
  const values = Float32Array.from({ length: 3 * plane }, (_, i) => data[(i % plane) * 3 + Math.floor(i / plane)]!);
  return { data: values, shape: [1, 3, info.height, info.width] };
}
