import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ThawError } from '../../src/errors.js';
import {
  ELEMENT_BYTES,
  elements,
  openCheckpoint,
  type Checkpoint,
  type TensorEntry,
} from '../../src/formats/checkpoint.js';
import { temporaryFolder } from '../python.js';
import { sharedPath } from '../shared.js';
import { denseBytes } from './dense.js';

const folder = temporaryFolder();
afterAll(folder.remove);

function write(bytes: string | Uint8Array): string {
  const path = join(folder.path, 'file.safetensors');
  writeFileSync(path, bytes);
  return path;
}

describe('openCheckpoint', () => {
  it.each([
    ['a web page', '<!DOCTYPE html><html>', /web page/],
    ['a Git LFS pointer', 'version https://git-lfs.github.com/spec/v1\n', /git lfs pull/],
    ['JSON of something else', '{"a": 1}', /another JSON text/],
    ['one byte', 'x', /other bytes/],
    ['a pickle of something else', Buffer.from('\x80\x02K\x01.', 'latin1'), /a pickle without tensors/],
  ])('says what %s is', async (_, bytes, words) => {
    await expect(openCheckpoint(write(bytes))).rejects.toMatchObject({
      code: 'ERR_FORMAT_UNKNOWN',
      message: expect.stringMatching(words) as string,
    });
  });

  it('tells what is missing, empty or a folder, and stops when asked to', async () => {
    const code = (path: string, signal?: AbortSignal): Promise<unknown> =>
      openCheckpoint(path, { signal }).catch((error: ThawError) => error.code);
    expect(await code(join(folder.path, 'nothing'))).toBe('ERR_FILE_NOT_FOUND');
    expect(await code(folder.path)).toBe('ERR_FORMAT_UNKNOWN');
    expect(await code('/dev/null')).toBe('ERR_FORMAT_UNKNOWN');
    expect(await code(write(''))).toBe('ERR_FILE_TRUNCATED');
    expect(await code(write('{}'), AbortSignal.abort())).toBe('ERR_ABORTED');
  });
});

const squeezenet = (name: string): string | undefined => sharedPath('weights/squeezenet1_1', name);

describe.skipIf(!squeezenet(''))('real files', () => {
  it('hold the same SqueezeNet in three formats', async () => {
    const names = ['squeezenet1_1.safetensors', 'squeezenet1_1.pth', 'squeezenet1_1-legacy.pth'];
    const [safe, zip, legacy] = await Promise.all(names.map((name) => openCheckpoint(squeezenet(name)!)));
    expect([safe!.format, zip!.format, legacy!.format]).toEqual(['safetensors', 'torch-zip', 'torch-legacy']);
    expect(safe!.tensors.size).toBe(52);
    for (const name of ['features.0.weight', 'features.12.expand3x3.bias', 'classifier.1.bias']) {
      const bytes = denseBytes(safe!.tensors.get(name)!);
      expect(denseBytes(zip!.tensors.get(name)!).equals(bytes)).toBe(true);
      expect(denseBytes(legacy!.tensors.get(name)!).equals(bytes)).toBe(true);
    }
  });

  it.each([
    ['resnet-cifar10/resnet20-12fca82f.th', 97, 'torch-legacy', 'linear.weight', [10, 64]],
    ['resnet-cifar10/resnet56-4bfd9763.th', 277, 'torch-legacy', 'layer3.8.bn2.running_var', [64]],
    ['shufflenetv2-fastestdet/module/shufflenetv2.pth', 330, 'torch-zip', 'first_conv.0.weight', [24, 3, 3, 3]],
  ])('%s has %i tensors', async (path, count, format, name, shape) => {
    const checkpoint = await openCheckpoint(sharedPath('weights', path)!);
    expect(checkpoint.format).toBe(format);
    expect(checkpoint.tensors.size).toBe(count);
    expect(checkpoint.tensors.get(name)?.shape).toEqual(shape);
  });
});

/** Numbers from a seed: xorshift32. */
function* numbers(seed: number): Generator<number, never> {
  for (let x = seed; ;) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    yield x >>> 0;
  }
}

/** The offset behind a tensor's last byte. */
function end({ dtype, shape, source }: TensorEntry): number {
  const { offset, strides } = source as { offset: number; strides?: number[] };
  const steps = strides ?? shape.map((_, d) => elements(shape.slice(d + 1)));
  const last = shape.reduce((at, size, d) => at + (size - 1) * steps[d]!, 0);
  return offset + (shape.includes(0) ? 0 : (last + 1) * ELEMENT_BYTES[dtype]);
}

describe.skipIf(!squeezenet(''))('damaged files', () => {
  it.each([
    ['weights/squeezenet1_1/squeezenet1_1.safetensors', 4800],
    ['weights/squeezenet1_1/squeezenet1_1.pth', 5400],
    ['weights/resnet-cifar10/resnet20-12fca82f.th', 14000],
  ])('%s: every damage ends in an error of ours or in tensors within the file', async (path, head) => {
    const whole = readFileSync(sharedPath(path)!);
    const random = numbers(7);
    const upTo = (n: number): number => random.next().value % n;
    for (let i = 0; i < 120; i++) {
      const bytes = i % 3 === 0 ? whole.subarray(0, upTo(whole.length)) : Buffer.from(whole);
      // Two of three flips hit the description, the third the end, where zip archives have their directory.
      if (i % 3 === 1) for (let k = 0; k < 4; k++) bytes[upTo(head)] = upTo(256);
      if (i % 3 === 2) for (let k = 0; k < 4; k++) bytes[bytes.length - 1 - upTo(6000)] = upTo(256);
      const read = await openCheckpoint(write(bytes)).catch((error: unknown) => error);
      if (read instanceof Error) expect(read, String(read.stack)).toBeInstanceOf(ThawError);
      else
        for (const entry of (read as Checkpoint).tensors.values()) expect(end(entry)).toBeLessThanOrEqual(bytes.length);
    }
  });
});
