// PyTorch in a process of its own that obeys one command a line, so that its repeats take turns with thaw's.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { PYTHON, PYTHON_ENV, THREADS } from './machine.mjs';
import { peerFile } from './networks.mjs';

export class Torch {
  #process;
  #lines;
  #errors = '';

  constructor() {
    this.#process = spawn(PYTHON, [peerFile('worker.py'), String(THREADS)], { env: PYTHON_ENV });
    this.#process.stderr.on('data', (chunk) => (this.#errors += chunk));
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  /** @returns {Promise<any>} the answer; `ms` is the time of the work itself, without the pipe */
  async ask(command, parameters = {}) {
    this.#process.stdin.write(`${JSON.stringify({ command, ...parameters })}\n`);
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`PyTorch ended at '${command}': ${this.#errors}`);
    const answer = JSON.parse(value);
    if (answer.error) throw new Error(`PyTorch at '${command}': ${answer.error}`);
    return answer;
  }

  close() {
    this.#process.stdin.end();
  }
}
