import type { PictureStore, StoredPicture } from './types.js';

/** Bytes counted for an entry besides its pixels. */
const ENTRY_BYTES = 256;

class BoundedStore implements PictureStore {
  bytes = 0;
  private readonly entries = new Map<number, StoredPicture>();

  constructor(readonly limitBytes: number) {}

  get(index: number): StoredPicture | undefined {
    return this.entries.get(index);
  }

  /** Keeps the pixels only while they fit: what came first stays, since every epoch asks for all of them. */
  set(index: number, picture: StoredPicture): void {
    const before = this.entries.get(index);
    if (before) this.bytes -= cost(before);
    const room = this.bytes + cost(picture) <= this.limitBytes;
    const { picture: pixels, ...identity } = picture;
    const kept = room && pixels ? picture : identity;
    this.entries.set(index, kept);
    this.bytes += cost(kept);
  }

  clear(): void {
    this.entries.clear();
    this.bytes = 0;
  }
}

function cost(entry: StoredPicture): number {
  return ENTRY_BYTES + (entry.picture?.data.byteLength ?? 0);
}

/**
 * Remembers, for one data set, the identity of each picture, which files cannot be read, and decoded pixels up to
 * `limitBytes` (0: none).
 */
export function pictureStore(limitBytes = 0): PictureStore {
  return new BoundedStore(limitBytes);
}
