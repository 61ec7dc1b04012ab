import { closeSync, openSync, readSync } from 'node:fs';
import { ELEMENT_BYTES, elements, type TensorEntry } from '../../src/formats/checkpoint.js';

/** A tensor's bytes in row-major order, read one element at a time: the plain reference. */
export function denseBytes({ dtype, shape, source }: TensorEntry): Buffer {
  if (source instanceof Uint8Array) return Buffer.from(source);
  const width = ELEMENT_BYTES[dtype];
  const bytes = Buffer.alloc(elements(shape) * width);
  const strides = source.strides ?? shape.map((_, d) => elements(shape.slice(d + 1)));
  const file = openSync(source.path, 'r');
  for (let i = 0; i < elements(shape); i++) {
    let rest = i;
    let step = 0;
    for (let d = shape.length - 1; d >= 0; d--) {
      step += (rest % shape[d]!) * strides[d]!;
      rest = Math.floor(rest / shape[d]!);
    }
    readSync(file, bytes, i * width, width, source.offset + step * width);
  }
  closeSync(file);
  return bytes;
}
