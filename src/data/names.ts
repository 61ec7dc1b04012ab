/** Order of names by code point: the same on every machine and in every language. */
export function compareCodePoints(a: string, b: string): number {
  const [left, right] = [Array.from(a), Array.from(b)];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const difference = left[i]!.codePointAt(0)! - right[i]!.codePointAt(0)!;
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

/** Files and folders that systems leave behind. */
export function isIgnored(name: string): boolean {
  return name.startsWith('.') || /^(thumbs\.db|desktop\.ini|__macosx)$/i.test(name);
}

export type Part = 'train' | 'val' | 'test';

/** The part that a folder's name or a `split` column means. */
export function partOf(name: string): Part | undefined {
  const word = name.toLowerCase();
  if (word === 'train' || word === 'training') return 'train';
  if (word === 'val' || word === 'valid' || word === 'validation') return 'val';
  return word === 'test' || word === 'testing' ? 'test' : undefined;
}
