#!/usr/bin/env node
/** The command line: `thaw COMMAND …`. Exit code 0; 1 for a failed job, 2 for wrong usage, 130 after Ctrl-C. */
import { readFileSync } from 'node:fs';
import { ThawError } from '../errors.js';
import type { CliCommand } from './commands/command.js';
import { flag, helpText, readArguments, UsageError } from './flags.js';
import { Output } from './output.js';

/** Commands are imported when they are asked for: `thaw --help` loads nothing. */
const COMMANDS: Record<string, { text: string; load: () => Promise<CliCommand> }> = {
  fit: {
    text: 'teach a pre-trained network your own pictures',
    load: async () => (await import('./commands/fit.js')).fit,
  },
  predict: { text: 'say what is in pictures', load: async () => (await import('./commands/predict.js')).predict },
  evaluate: {
    text: 'measure a network on labelled pictures',
    load: async () => (await import('./commands/evaluate.js')).evaluate,
  },
  inspect: { text: 'show what is in a weight file', load: async () => (await import('./commands/inspect.js')).inspect },
  pull: { text: 'fetch a model of the hub', load: async () => (await import('./commands/pull.js')).pull },
  features: {
    text: 'what the body makes of pictures, as numbers',
    load: async () => (await import('./commands/features.js')).features,
  },
  export: {
    text: 'write a network as an ONNX model',
    load: async () => (await import('./commands/export.js')).exportCommand,
  },
  bench: {
    text: 'how fast this machine is with a network',
    load: async () => (await import('./commands/bench.js')).bench,
  },
  devices: {
    text: 'show processors and GPUs, and what is missing for a GPU',
    load: async () => (await import('./commands/devices.js')).devicesCommand,
  },
  demo: {
    text: 'draw pictures, learn from them, transfer: needs no data',
    load: async () => (await import('./commands/demo.js')).demo,
  },
  build: { text: 'compile the core from source', load: async () => (await import('./commands/build.js')).build },
};

const OVERVIEW = `thaw: transfer learning for Node.js

  thaw COMMAND … [--help]

${Object.entries(COMMANDS)
  .map(([name, { text }]) => `  ${name.padEnd(10)}${text}`)
  .join('\n')}

Examples:
  thaw fit photos --base squeezenet1_1.pth --out vegetables.safetensors
  thaw predict vegetables.safetensors new.jpg
`;

function version(): string {
  const file = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

async function main(argv: string[]): Promise<number> {
  const [name, ...rest] = argv;
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    (name === undefined ? process.stderr : process.stdout).write(OVERVIEW);
    return name === undefined ? 2 : 0;
  }
  if (name === '--version' || name === '-v') {
    process.stdout.write(`${version()}\n`);
    return 0;
  }
  const entry = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (!entry) throw new UsageError(`expected ${Object.keys(COMMANDS).join(', ')} for COMMAND, received '${name}'`);
  const command = await entry.load();
  const args = readArguments(command.help, rest);
  if (flag(args.values, 'help')) {
    process.stdout.write(helpText(command.help));
    return 0;
  }
  const output = new Output({ json: flag(args.values, 'json') ?? false, events: flag(args.values, 'events') ?? false });
  return (await command.run(args, { output, signal: interruption(output) })) ?? 0;
}

/** Ctrl-C asks the work to stop cleanly; pressed again, it ends the process. */
function interruption(output: Output): AbortSignal {
  const controller = new AbortController();
  const stop = () => {
    if (controller.signal.aborted) process.exit(130);
    output.say('Stopping …');
    controller.abort();
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  return controller.signal;
}

/** The exit code of a failure, which is told on standard error, and with --json on standard output too. */
function fail(error: unknown): number {
  const usage = error instanceof UsageError;
  const { code, message } = usage ? { code: 'ERR_USAGE', message: error.message } : described(error);
  if (process.argv.includes('--json')) process.stdout.write(`${JSON.stringify({ error: { code, message } })}\n`);
  const hint = usage ? "\n      'thaw --help' and 'thaw COMMAND --help' show how." : ` (${code})`;
  process.stderr.write(`thaw: ${message}${hint}\n`);
  if (code === 'ERR_ABORTED') return 130;
  // An option out of its range is wrong usage that only the library could tell.
  return usage || code === 'ERR_OPTION' ? 2 : 1;
}

function described(error: unknown): { code: string; message: string } {
  if (error instanceof ThawError) return error;
  const { code, message, stack } = (error ?? {}) as NodeJS.ErrnoException;
  // The system's own errors (no such folder, disk full) say enough without a stack.
  if (typeof code === 'string' && message) return { code, message };
  return { code: 'ERR_UNEXPECTED', message: stack ?? String(error) };
}

// A reader that has seen enough (`thaw fit … --json --events | head -1`) is no failure, and no reason to leave work undone.
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
process.exitCode = await main(process.argv.slice(2)).catch(fail);
