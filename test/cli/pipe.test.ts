/** Readers that leave before the work is done. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { create } from '../../src/network/create.js';
import { drawPhotos, MAIN, thaw } from './thaw.js';

const folder = mkdtempSync(path.join(tmpdir(), 'thaw-pipe-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('fit ends its work although nobody reads what it says any more', async () => {
  const [base, out, photos] = ['base.safetensors', 'out.safetensors', 'photos'].map((name) => path.join(folder, name));
  const net = await create('cifar_resnet20');
  await net.save(base!);
  net.dispose();
  await drawPhotos(photos!, ['green', 'red'], 6);
  const child = spawn(process.execPath, [MAIN, 'fit', photos!, '--base', base!, '--out', out!, '--json', '--events']);
  await once(child.stdout, 'data');
  child.stdout.destroy();
  child.stderr.destroy();
  const [code] = await once(child, 'close');
  expect(code).toBe(0);
  expect(existsSync(out!)).toBe(true);
});

it('an unknown flag is named in one short sentence', async () => {
  const { code, error } = await thaw(['fit', 'photos', '--epoch', '3']);
  expect(code).toBe(2);
  expect(error.split('\n')[0]).toMatch(/^thaw: Unknown option '--epoch'\.?$/);
});
