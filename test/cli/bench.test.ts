/** `thaw bench`: figures of this machine for a network by name and from a file. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { create } from '../../src/index.js';
import { sharedPath } from '../shared.js';
import { json, thaw } from './thaw.js';

const folder = mkdtempSync(path.join(tmpdir(), 'thaw-bench-'));
const file = path.join(folder, 'net.safetensors');
beforeAll(async () => {
  const net = await create('cifar_resnet20', { labels: ['a', 'b', 'c'] });
  await net.save(file);
  net.dispose();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Figures {
  net: string;
  batch: number;
  shape: number[];
  precision: string;
  picturesPerSecond: number;
  ms: number;
  threads: number;
}

describe('thaw bench', () => {
  for (const mode of ['forward', 'step', 'head'])
    it(`measures ${mode} of a file`, async () => {
      const args = ['bench', '--net', file, '--mode', mode, '--batch', '4', '--repeats', '3'];
      const figures = (await json([...args, '--precision', 'fp32', '--threads', '1'])) as Figures;
      expect(figures).toMatchObject({
        mode,
        batch: 4,
        shape: [4, 3, 32, 32],
        precision: 'fp32',
        threads: 1,
        repeats: 3,
      });
      expect(figures.picturesPerSecond).toBeCloseTo(4000 / figures.ms, 6);
    });

  it('draws weights for a network by name, and says what ran', async () => {
    const { code, out } = await thaw([
      'bench',
      '--net',
      'cifar_resnet20',
      '--batch',
      '1',
      '--repeats',
      '1',
      '--precision',
      'bf16',
    ]);
    expect(code).toBe(0);
    expect(out).toMatch(/^cifar_resnet20, forward, 1 x 3 x 32 x 32, bf16 on \w+, threads \d+: [\d.]+ pictures\/s\n/);
  });

  const body = sharedPath('weights', 'mobilenetv2-body-onnx', 'mobilenetv2-body.onnx');
  it.skipIf(!body)('refuses to train the head of a network that has none', async () => {
    const { code, error } = await thaw(['bench', '--net', body!, '--mode', 'head', '--batch', '1']);
    expect(code).toBe(1);
    expect(error).toContain('ERR_HEAD');
  });

  it('leaves the step that trains the head alone faster than the one that trains all', async () => {
    const args = ['bench', '--net', file, '--batch', '32', '--repeats', '5'];
    const [all, head] = [await json([...args, '--mode', 'step']), await json([...args, '--mode', 'head'])];
    expect((head as Figures).ms).toBeLessThan((all as Figures).ms);
  });
});
