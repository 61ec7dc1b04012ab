import { describe, expect, it } from 'vitest';
import { withNext } from '../../src/train/batches.js';

const log: string[] = [];
async function* numbers(count: number, slowFrom = Infinity): AsyncGenerator<number> {
  try {
    for (let i = 0; i < count; i++) {
      if (i >= slowFrom) await new Promise((resolve) => setTimeout(resolve, 20));
      yield i;
    }
  } finally {
    log.push('closed');
  }
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

describe('a batch and the one after it', () => {
  it('come in order, each once', async () => {
    expect(await all(withNext(numbers(3)))).toEqual([
      { batch: 0, next: 1 },
      { batch: 1, next: 2 },
      { batch: 2, next: undefined },
    ]);
    expect(await all(withNext(numbers(0)))).toEqual([]);
  });

  it('do not wait for one that is still being read', async () => {
    expect(await all(withNext(numbers(3, 1)))).toEqual([0, 1, 2].map((batch) => ({ batch, next: undefined })));
  });

  it('give what was read before a failure, and close what is left early', async () => {
    async function* failing(): AsyncGenerator<number> {
      yield* numbers(2);
      throw new Error('unreadable');
    }
    const seen: number[] = [];
    const read = async (): Promise<void> => {
      for await (const { batch } of withNext(failing())) seen.push(batch);
    };
    await expect(read()).rejects.toThrow('unreadable');
    expect(seen).toEqual([0, 1]);
    log.length = 0;
    for await (const { batch } of withNext(numbers(9))) if (batch === 2) break;
    expect(log).toEqual(['closed']);
  });
});
