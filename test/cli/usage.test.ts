/** Help, wrong usage and files that are no networks. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { FINE_TUNE_FLAGS, FIT_FLAGS, NOT_FLAGS, kebab } from '../../src/cli/fit-flags.js';
import { COMMON_FLAGS } from '../../src/cli/flags.js';
import { safetensorsHeader } from '../../src/formats/checkpoint.js';
import { FINE_TUNE_DEFAULTS, FIT_DEFAULTS } from '../../src/train/defaults.js';
import { sharedPath } from '../shared.js';
import { json, thaw } from './thaw.js';

const folder = mkdtempSync(path.join(tmpdir(), 'thaw-usage-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const commands = ['fit', 'predict', 'evaluate', 'inspect', 'features', 'bench', 'devices', 'demo', 'build'];

describe('help', () => {
  it('names every command', async () => {
    const { code, out } = await thaw(['--help']);
    expect(code).toBe(0);
    for (const command of commands) expect(out).toMatch(new RegExp(`^  ${command} `, 'm'));
  });

  for (const command of commands) {
    it(`of ${command} shows its flags and examples`, async () => {
      const { code, out, error } = await thaw([command, '--help']);
      expect([code, error]).toEqual([0, '']);
      expect(out).toMatch(new RegExp(`^Examples:\\n  (npx )?thaw ${command}`, 'm'));
      for (const { name } of COMMON_FLAGS) expect(out).toContain(`  --${name}`);
      expect(Math.max(...out.split('\n').map((line) => line.length))).toBeLessThanOrEqual(120);
    });
  }

  it('every option of fit and fineTune is a flag, and no flag is left over', () => {
    const flags = [...FIT_FLAGS, ...COMMON_FLAGS].map(({ name }) => name);
    const options = Object.keys(FIT_DEFAULTS).filter((name) => !(NOT_FLAGS as readonly string[]).includes(name));
    expect(options.map(kebab).filter((name) => !flags.includes(name))).toEqual([]);
    const names = [...options.map(kebab), ...COMMON_FLAGS.map(({ name }) => name)];
    expect(flags.filter((name) => !names.includes(name))).toEqual([]);
    const added = Object.keys(FINE_TUNE_DEFAULTS).filter((name) => !options.includes(name));
    expect(FINE_TUNE_FLAGS.map(({ name }) => name)).toEqual(added.map(kebab));
  });
});

describe('wrong usage exits with 2 before any work', () => {
  const fit = ['fit', folder, '--base', 'no.safetensors', '--out', path.join(folder, 'out.safetensors')];
  for (const [what, args, word] of [
    ['no command', [], 'thaw COMMAND'],
    ['an unknown command', ['melt'], "'melt'"],
    ['an unknown flag', ['predict', 'm', 'p', '--colour'], '--colour'],
    ['no operand', ['predict', 'm'], 'PICTURE'],
    ['too many operands', ['inspect', 'a', 'b'], 'FILE'],
    ['a bench of nothing', ['bench'], '--net'],
    ['a bench of an unknown mode', ['bench', '--net', 'resnet18', '--mode', 'backwards'], 'step'],
    ['a bench of no pictures', ['bench', '--net', 'resnet18', '--batch', '0'], '--batch'],
    ['a device that is none', ['predict', 'm', 'p', '--device', 'gpu'], 'cuda'],
    ['a number out of range', ['predict', 'm', 'p', '--top', '0'], '--top'],
    ['a missing flag', ['fit', folder], '--base'],
    ['no number', [...fit, '--epochs', 'many'], '--epochs'],
    ['a choice that is none', [...fit, '--optimizer', 'lbfgs'], 'adamw'],
    ['an unknown recipe', [...fit, '--recipe', 'soup'], 'fine-tune'],
    ['flags of fineTune without it', [...fit, '--freeze-epochs', '2'], '--recipe fine-tune'],
    ['flags against fineTune', [...fit, '--recipe', 'fine-tune', '--freeze', 'a'], '--freeze'],
    [
      'a folder for --out that is not there',
      ['fit', folder, '--base', 'b', '--out', path.join(folder, 'no', 'x')],
      '--out',
    ],
  ] as [string, string[], string][]) {
    it(what, async () => {
      const { code, out, error } = await thaw(args);
      expect([code, out]).toEqual([2, '']);
      expect(error).toContain(word);
    });
  }

  it('with --json the error is on standard output too', async () => {
    const { code, out } = await thaw(['inspect', '--json']);
    expect(code).toBe(2);
    expect(JSON.parse(out)).toEqual({ error: { code: 'ERR_USAGE', message: expect.any(String) } });
  });
});

describe('a failed job exits with 1', () => {
  it('and names the code', async () => {
    const { code, out, error } = await thaw(['inspect', path.join(folder, 'no.safetensors'), '--json']);
    expect(code).toBe(1);
    expect(JSON.parse(out).error.code).toMatch(/^ERR_/);
    expect(error).toContain('no.safetensors');
    expect(error).not.toContain('    at ');
  });
});

describe('inspect', () => {
  it('lists the tensors of a file of no known architecture', async () => {
    const file = path.join(folder, 'strange.safetensors');
    const header = safetensorsHeader([{ name: 'strange.weight', dtype: 'F32', shape: [2, 3] }], { made: 'here' });
    writeFileSync(file, Buffer.concat([header, Buffer.alloc(24)]));
    const found = await json(['inspect', file]);
    expect(found).toMatchObject({
      tensors: [{ name: 'strange.weight', dtype: 'F32', shape: [2, 3] }],
      metadata: { made: 'here' },
    });
    const { code, out, error } = await thaw(['inspect', file]);
    expect(code).toBe(0);
    expect(out).toMatch(/strange\.weight +F32 +\[2, 3\]/);
    expect(error).toContain('warning');
  });
});

const weights = sharedPath('weights', 'squeezenet1_1');
const photos = sharedPath('data', 'test-photos');
describe.skipIf(!weights || !photos)('published weights', () => {
  for (const file of ['squeezenet1_1.pth', 'squeezenet1_1-legacy.pth', 'squeezenet1_1.safetensors']) {
    it(`${file} knows a giant panda`, async () => {
      const labels = path.join(photos!, 'labels', 'labels1000.txt');
      const args = [path.join(weights!, file), path.join(photos!, 'panda.jpg'), '--labels', labels, '--top', '1'];
      const { predictions } = await json(['predict', ...args]);
      expect(predictions[0].labels).toHaveLength(1);
      expect(predictions[0].labels[0].label).toMatch(/^giant panda/);
    });
  }
});
