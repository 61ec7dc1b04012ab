/** Pixels that are converted on the main thread in one go, well below 5 ms. */
export const SLICE = 1 << 17;

/** Lets timers, requests and other work run. */
export function breathe(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Calls convert(from, to) over all pixels, letting other work in between. */
export async function inSlices(pixels: number, convert: (from: number, to: number) => void): Promise<void> {
  for (let from = 0; from < pixels; from += SLICE) {
    if (from > 0) await breathe();
    convert(from, Math.min(from + SLICE, pixels));
  }
}
