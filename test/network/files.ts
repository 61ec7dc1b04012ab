/** Weight files made for a test. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { safetensorsHeader } from '../../src/formats/checkpoint.js';
import type { GraphDescription } from '../../src/graph/types.js';

export const folder = mkdtempSync(join(tmpdir(), 'thaw-network-'));

export interface Made {
  name: string;
  dtype?: 'F32' | 'F16' | 'I64';
  shape: number[];
  /** Default: its place in the file, 1, 2, … everywhere. */
  value?: number[];
}

/** Every tensor of a graph, as a file would hold it. */
export function tensorsOf(graph: GraphDescription): Made[] {
  return [...graph.parameters, ...graph.states].map(({ name, shape, dtype }) => ({
    name,
    shape,
    dtype: dtype === 'i64' ? 'I64' : 'F32',
  }));
}

export function writeFile(name: string, tensors: Made[], metadata: Record<string, string> = {}): string {
  const path = join(folder, name);
  const described = tensors.map(
    (tensor) => ({ name: tensor.name, shape: tensor.shape, dtype: tensor.dtype ?? 'F32' }) as const,
  );
  const parts = tensors.map(({ shape, dtype = 'F32', value }, i) => {
    const count = shape.reduce((a, b) => a * b, 1);
    if (dtype === 'I64') return new Uint8Array(BigInt64Array.from({ length: count }, () => BigInt(i)).buffer);
    if (dtype === 'F16') return new Uint8Array(Uint16Array.from({ length: count }, () => 0x3c00 + i).buffer);
    return new Uint8Array(Float32Array.from({ length: count }, (_, at) => value?.[at] ?? i + 1).buffer);
  });
  writeFileSync(path, Buffer.concat([safetensorsHeader(described, metadata), ...parts]));
  return path;
}
