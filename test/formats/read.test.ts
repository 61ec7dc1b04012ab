import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/formats/checkpoint.js';
import { createSession, type FileRange } from '../../src/native.js';
import { hasTorch, python, temporaryFolder } from '../python.js';
import { denseBytes } from './dense.js';

describe.skipIf(!hasTorch())('tensors that the core reads from files of torch.save', () => {
  const folder = temporaryFolder();
  beforeAll(() => void python(fileURLToPath(new URL('fixtures.py', import.meta.url)), folder.path), 120_000);
  afterAll(folder.remove);

  it.each(['views', 'dtypes', 'tied', 'nested'])('%s: the same bytes', async (name) => {
    for (const container of ['zip', 'legacy']) {
      const { path, tensors } = await openCheckpoint(join(folder.path, `${name}.${container}.pth`));
      const ranges = [...tensors.values()].map(({ source, ...tensor }): FileRange => {
        const { offset, strides } = source as { offset: number; strides?: number[] };
        return { ...tensor, offset, ...(strides && { strides }) };
      });
      const session = createSession();
      try {
        await session.submit('read', { path, tensors: ranges });
        const { buffers } = await session.submit('get', { names: [...tensors.keys()] });
        [...tensors.values()].forEach((entry, i) => {
          expect(Buffer.from(buffers[i]!).equals(denseBytes(entry)), `${container} ${entry.name}`).toBe(true);
        });
      } finally {
        session.dispose();
      }
    }
  });
});
