import { readFileSync } from 'node:fs';
import { ELEMENT_BYTES, elements, type TensorEntry } from '../../src/formats/checkpoint.js';

/** A tensor's bytes in row-major order, taken one element at a time: the plain reference. */
export function denseBytes({ dtype, shape, source }: TensorEntry): Buffer {
  if (source instanceof Uint8Array) return Buffer.from(source);
  const width = ELEMENT_BYTES[dtype];
  const bytes = Buffer.alloc(elements(shape) * width);
  const strides = source.strides ?? shape.map((_, d) => elements(shape.slice(d + 1)));
  const [from, offset] = 'path' in source ? [readFileSync(source.path), source.offset] : [source.bytes, 0];
  for (let i = 0; i < elements(shape); i++) {
    let rest = i;
    let step = 0;
    for (let d = shape.length - 1; d >= 0; d--) {
      step += (rest % shape[d]!) * strides[d]!;
      rest = Math.floor(rest / shape[d]!);
    }
    bytes.set(from.subarray(offset + step * width, offset + (step + 1) * width), i * width);
  }
  return bytes;
}
