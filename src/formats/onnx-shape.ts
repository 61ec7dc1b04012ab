/**
 * Shapes while a file is imported. A dimension is a number, or a symbol: 'N' for the batch, a name of the file, '?1' for
 * what is not known. '24*N' is 24 times N.
 */
export type Dim = number | string;

/** Product of dimensions: a number times symbols, sorted. */
interface Product {
  number: number;
  symbols: string[];
}

export function product(dims: readonly Dim[]): Product {
  const found: Product = { number: 1, symbols: [] };
  for (const dim of dims) {
    const [factor, symbol] = typeof dim === 'number' ? [dim, ''] : parts(dim);
    found.number *= factor;
    if (symbol) found.symbols.push(...symbol.split('*'));
  }
  found.symbols.sort();
  return found;
}

function parts(symbol: string): [number, string] {
  const found = /^(\d+)\*(.+)$/.exec(symbol);
  return found ? [Number(found[1]), found[2]!] : [1, symbol];
}

/** A product of more symbols than this is only unknown: nodes that square a size would double it each time. */
const MAX_SYMBOLS = 8;
let lost = 0;

function toDim({ number, symbols }: Product): Dim {
  if (symbols.length > MAX_SYMBOLS) return `?lost${++lost}`;
  if (symbols.length === 0) return number;
  return number === 1 ? symbols.join('*') : `${number}*${symbols.join('*')}`;
}

export const joined = (dims: readonly Dim[]): Dim => toDim(product(dims));

/** What `whole` has beyond `part`; undefined where that is no whole number of elements. */
export function quotient(whole: readonly Dim[], part: readonly Dim[]): Dim | undefined {
  const [a, b] = [product(whole), product(part)];
  const left = [...a.symbols];
  for (const symbol of b.symbols) {
    const at = left.indexOf(symbol);
    if (at < 0) return undefined;
    left.splice(at, 1);
  }
  const number = a.number / b.number;
  return Number.isInteger(number) ? toDim({ number, symbols: left }) : undefined;
}

/** As in NumPy; undefined where it cannot be told or the shapes do not fit. */
export function broadcast(a: readonly Dim[], b: readonly Dim[]): Dim[] | undefined {
  const rank = Math.max(a.length, b.length);
  const shape: Dim[] = [];
  for (let i = 0; i < rank; i++) {
    const [p, q] = [a[i - rank + a.length] ?? 1, b[i - rank + b.length] ?? 1];
    if (p !== q && p !== 1 && q !== 1 && typeof p === typeof q && typeof p === 'number') return undefined;
    shape.push(p === 1 ? q : q === 1 || typeof p === 'number' ? p : q);
  }
  return shape;
}

/** Negative axes count from the end. */
export const axisOf = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);
