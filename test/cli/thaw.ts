/** The command line from outside: a child process that runs dist/cli/main.js. */
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import sharp from 'sharp';

const root = path.resolve(import.meta.dirname, '../..');
export const MAIN = path.join(root, 'dist', 'cli', 'main.js');

export interface Ended {
  code: number | null;
  out: string;
  error: string;
}

/** @param interrupt Ctrl-C is pressed, once, when standard error has said something like this. */
export function thaw(args: string[], interrupt?: RegExp): Promise<Ended> {
  const child = spawn(process.execPath, [MAIN, ...args]);
  let pressed = false;
  const ended: Ended = { code: null, out: '', error: '' };
  child.stdout.on('data', (data) => (ended.out += data));
  child.stderr.on('data', (data) => {
    ended.error += data;
    if (!pressed && interrupt?.test(ended.error)) pressed = child.kill('SIGINT');
  });
  return new Promise((resolve) => child.on('close', (code) => resolve({ ...ended, code })));
}

/** Runs a command with --json that must succeed; its standard output must be one line. */
export async function json(args: string[]): Promise<any> {
  const { code, out, error } = await thaw([...args, '--json']);
  if (code !== 0) throw new Error(`thaw ${args.join(' ')} ended with ${code}: ${error}`);
  if (out.trimEnd().includes('\n')) throw new Error(`expected one line, received ${out}`);
  return JSON.parse(out);
}

const COLOURS: Record<string, [number, number, number]> = {
  red: [200, 30, 30],
  green: [30, 190, 40],
  blue: [30, 40, 200],
};

/** Pictures of one colour each, a folder a label: `folder/label/0.jpg`, … */
export async function drawPhotos(folder: string, labels: string[], count: number): Promise<void> {
  for (const label of labels) {
    mkdirSync(path.join(folder, label), { recursive: true });
    for (let i = 0; i < count; i++) {
      const [r, g, b] = COLOURS[label]!.map((value) => value + i) as [number, number, number];
      const picture = sharp({ create: { width: 40 + i, height: 36, channels: 3, background: { r, g, b } } });
      await picture.jpeg().toFile(path.join(folder, label, `${i}.jpg`));
    }
  }
}
