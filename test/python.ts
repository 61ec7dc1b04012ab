import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const PYTHON = process.env['THAW_PYTHON'] ?? '/usr/bin/python3';

/** Does Python find these modules? Loading PyTorch only to know that would take seconds in each file. */
function finds(...modules: string[]): boolean {
  const script = 'import importlib.util, sys; sys.exit(None in map(importlib.util.find_spec, sys.argv[1:]))';
  return spawnSync(PYTHON, ['-c', script, ...modules]).status === 0;
}

let torch: boolean | undefined;

/** Is there a Python with torch and torchvision (Debian's python3-torch, python3-torchvision)? Says so where not. */
export function hasTorch(): boolean {
  torch ??= finds('torch', 'torchvision');
  if (!torch) console.log(`skipped: ${PYTHON} has no torch and torchvision`);
  return torch;
}

let onnx: boolean | undefined;

/** Is there a Python with onnx (Debian's python3-onnx)? Says so where not. */
export function hasOnnx(): boolean {
  onnx ??= finds('onnx', 'numpy');
  if (!onnx) console.log(`skipped: ${PYTHON} has no onnx`);
  return onnx;
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

/** A script that answers each line with a line. */
export interface PythonServer {
  /** Rejects with the script's error output where it ends instead. */
  ask(line: string): Promise<string>;
  end(): void;
}

/** Starts a script once for many questions; PyTorch takes seconds to load, and one thread unless told. */
export function pythonServer(script: string, ...args: string[]): PythonServer {
  const threads = { OMP_NUM_THREADS: String(availableParallelism()), OMP_WAIT_POLICY: 'passive' };
  // Tensors of hundreds of megabytes stay in the heap: fresh pages for each cost as much as the arithmetic.
  const memory = { MALLOC_MMAP_THRESHOLD_: String(2 ** 32), MALLOC_TRIM_THRESHOLD_: String(2 ** 34) };
  const env = { ...process.env, ...threads, ...memory };
  const child = spawn(PYTHON, [script, ...args], { env, stdio: ['pipe', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  child.stdin.on('error', () => {}); // the end of the process says more
  const ended = new Promise<never>((_, reject) => {
    child.once('close', (status) => reject(new Error(`${script} ended with ${status}: ${errors}`)));
  });
  ended.catch(() => {});
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async ask(line) {
      child.stdin.write(`${line}\n`);
      const answer = await lines.next();
      return answer.done ? ended : answer.value;
    },
    end: () => void child.stdin.end(),
  };
}
