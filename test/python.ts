import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PYTHON = process.env['THAW_PYTHON'] ?? '/usr/bin/python3';
let torch: boolean | undefined;

/** Is there a Python with torch and torchvision (Debian's python3-torch, python3-torchvision)? Says so where not. */
export function hasTorch(): boolean {
  torch ??= spawnSync(PYTHON, ['-c', 'import torch, torchvision']).status === 0;
  if (!torch) console.log(`skipped: ${PYTHON} has no torch and torchvision`);
  return torch;
}

/** Runs a script to its end and returns what it printed. Throws with its error output. */
export function python(script: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(PYTHON, [script, ...args], { encoding: 'utf8', maxBuffer: 1 << 28 });
  if (status !== 0) throw new Error(`${script} ended with ${status}: ${stderr}`);
  return stdout;
}

/** A new folder below the system's temporary one, and how to remove it. */
export function temporaryFolder(): { path: string; remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), 'thaw-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}
