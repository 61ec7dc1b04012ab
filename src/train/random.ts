/**
 * The order of samples. Every draw is a pure function of (seed, epoch, position), so a resumed run repeats exactly what an
 * uninterrupted one would have drawn, without any generator state in the checkpoint.
 */

/** 32-bit finaliser of MurmurHash3 (Appleby, public domain): every input bit changes each output bit with odds one half. */
function mix(value: number): number {
  let x = value >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/** A 32-bit unsigned integer drawn from whole numbers (each 0 … 2^53-1). */
export function draw(...keys: number[]): number {
  let state = 0x9e3779b9;
  for (const key of keys) {
    const high = Math.floor(key / 0x1_0000_0000) >>> 0;
    state = mix(state ^ mix(key >>> 0)) + 0x9e3779b9;
    state = mix(state ^ high) + 0x7f4a7c15;
  }
  return mix(state);
}

/**
 * The order in which epoch `epoch` visits `length` samples: a permutation of 0 … length-1 (Fisher and Yates).
 * @param seed whole number, 0 … 2^53-1
 */
export function permutation(length: number, seed: number, epoch: number): Int32Array {
  const order = Int32Array.from({ length }, (_, i) => i);
  for (let last = length - 1; last > 0; last--) {
    const other = Math.floor((draw(seed, epoch, last) / 0x1_0000_0000) * (last + 1));
    const kept = order[last]!;
    order[last] = order[other]!;
    order[other] = kept;
  }
  return order;
}
