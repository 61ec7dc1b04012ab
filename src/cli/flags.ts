/** Flags: one table a command. Help, parsing and the test that compares them with the options of `fit` read these tables. */
import { parseArgs } from 'node:util';
import { isDeviceRequest } from '../network/device-name.js';
import { PREPROCESSING_MODES } from '../network/preprocessing.js';
import type { PreprocessingMode } from '../formats/keras-preprocessing.js';
import type { DeviceRequest } from '../network/device-name.js';

export type FlagKind = 'text' | 'number' | 'switch' | 'list';

export interface Flag {
  /** Without dashes: 'learning-rate'. */
  name: string;
  kind: FlagKind;
  /** What stands for the value in the help: FILE, N. */
  value?: string;
  text: string;
}

export interface CommandHelp {
  name: string;
  /** Operands as the help shows them: 'FILE', 'MODEL PICTURE…'. */
  operands: string;
  text: string;
  flags: readonly Flag[];
  examples: readonly string[];
}

/** Wrong use of the command line: exit code 2. */
export class UsageError extends Error {}

export const COMMON_FLAGS: readonly Flag[] = [
  { name: 'json', kind: 'switch', text: 'Print one line of JSON, the result, on standard output.' },
  { name: 'events', kind: 'switch', text: 'With --json: a line of JSON for each event before the result.' },
  {
    name: 'threads',
    kind: 'number',
    value: 'N',
    text: 'Threads of the core. Default: the processors this process may use.',
  },
  {
    name: 'precision',
    kind: 'text',
    value: 'P',
    text: 'auto, fp32 or bf16. Default auto: bf16 on a GPU and where the processor has AMX.',
  },
  {
    name: 'device',
    kind: 'text',
    value: 'D',
    text: 'Where the network computes: cpu, cuda, cuda:1, … or auto (a GPU where one can be used). Default cpu.',
  },
  { name: 'seed', kind: 'number', value: 'N', text: 'Seed of everything drawn at random. Default 0.' },
  { name: 'help', kind: 'switch', text: 'Show this help.' },
];

const PREPROCESSING: Flag = {
  name: 'preprocessing',
  kind: 'text',
  value: 'MODE',
  text: "How pictures become the network's input, where its file does not say or says it wrongly: torch (ImageNet's mean and deviation), tf (values -1 to 1), caffe (BGR, 0 to 255 less ImageNet's mean) or raw (0 to 255).",
};
export const INPUT_SIZE: Flag = {
  name: 'input-size',
  kind: 'text',
  value: 'HxW',
  text: "Height and width of the pictures, or one number, where the network's file leaves them open and depends on them.",
};

/** Of commands that take a network of any file: what files may leave open. */
export const ANSWERS: readonly Flag[] = [PREPROCESSING, INPUT_SIZE];

export type Values = Record<string, string | boolean | string[] | undefined>;

export interface Arguments {
  operands: string[];
  values: Values;
}

/** Reads the arguments of a command. `--no-NAME` turns a switch off. Throws UsageError. */
export function readArguments(command: CommandHelp, args: string[]): Arguments {
  const flags = [...command.flags, ...COMMON_FLAGS];
  const options = Object.fromEntries(
    flags.map((flag) => [
      flag.name,
      { type: flag.kind === 'switch' ? ('boolean' as const) : ('string' as const), multiple: flag.kind === 'list' },
    ]),
  );
  try {
    const { values, positionals } = parseArgs({ args, options, allowPositionals: true, allowNegative: true });
    return { operands: positionals, values: values as Values };
  } catch (error) {
    // What Node's sentence goes on with is about operands that begin with a dash.
    throw new UsageError((error as Error).message.split(/\n|\. To /)[0]);
  }
}

export const text = (values: Values, name: string): string | undefined => values[name] as string | undefined;
export const flag = (values: Values, name: string): boolean | undefined => values[name] as boolean | undefined;
export const list = (values: Values, name: string): string[] | undefined => values[name] as string[] | undefined;

/** A number; units k, M, G and KiB, MiB, GiB are understood. */
export function number(values: Values, name: string): number | undefined {
  const given = text(values, name);
  return given === undefined ? undefined : parseNumber(given, name);
}

const UNITS: Record<string, number> = { k: 1e3, M: 1e6, G: 1e9, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

export function parseNumber(given: string, name: string): number {
  const match = /^([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*([A-Za-z]*)$/.exec(given.trim());
  const value = match ? Number(match[1]) * (match[2] ? (UNITS[match[2]] ?? NaN) : 1) : NaN;
  if (!Number.isFinite(value)) throw new UsageError(`expected a number for --${name}, received '${given}'`);
  return value;
}

export function numbers(values: Values, name: string): number[] | undefined {
  return text(values, name)
    ?.split(',')
    .map((part) => parseNumber(part, name));
}

/** One of the words, or undefined where the flag is absent. */
export function choice<T extends string>(values: Values, name: string, words: readonly T[]): T | undefined {
  const given = text(values, name);
  if (given === undefined || (words as readonly string[]).includes(given)) return given as T | undefined;
  throw new UsageError(`expected ${words.join(', ')} for --${name}, received '${given}'`);
}

export function required(values: Values, name: string): string {
  const given = text(values, name);
  if (given === undefined) throw new UsageError(`--${name} is missing`);
  return given;
}

/** How the core computes: options of `load` and `create`. */
export function engine(values: Values): Engine {
  const threads = number(values, 'threads');
  const precision = choice(values, 'precision', ['auto', 'fp32', 'bf16']);
  const device = deviceOf(text(values, 'device'));
  return { ...(threads !== undefined && { threads }), ...(precision && { precision }), ...(device && { device }) };
}

/** What files leave open, as options of `load`. */
export function answers(values: Values): Answers {
  const preprocessing = choice(values, PREPROCESSING.name, PREPROCESSING_MODES);
  return { ...inputSize(values), ...(preprocessing && { preprocessing }) };
}

export interface Answers {
  inputSize?: [number, number];
  preprocessing?: PreprocessingMode;
}

function inputSize(values: Values): Answers {
  const given = text(values, INPUT_SIZE.name);
  if (given === undefined) return {};
  const [, height, width = height] = /^([1-9]\d{0,6})(?:x([1-9]\d{0,6}))?$/.exec(given) ?? [];
  if (!height) throw new UsageError(`expected a number of pixels or HxW for --input-size, received '${given}'`);
  return { inputSize: [Number(height), Number(width)] };
}

export interface Engine {
  threads?: number;
  precision?: 'auto' | 'fp32' | 'bf16';
  device?: DeviceRequest;
}

function deviceOf(given: string | undefined): DeviceRequest | undefined {
  if (given === undefined || isDeviceRequest(given)) return given;
  throw new UsageError(`expected cpu, cuda, cuda:1, … or auto for --device, received '${given}'`);
}

/** The help of a command. */
export function helpText(command: CommandHelp): string {
  const rows = [...command.flags, ...COMMON_FLAGS].map((f) => {
    const value = f.kind === 'switch' ? '' : ` ${f.value ?? 'VALUE'}`;
    return [`  --${f.name}${value}`, f.text] as const;
  });
  const column = Math.min(30, Math.max(...rows.map(([left]) => left.length)) + 2);
  return [
    `thaw ${command.name} ${command.operands}`.trimEnd(),
    '',
    ...wrap(command.text, '', 100),
    '',
    ...rows.flatMap(([left, right]) => {
      const [first = '', ...rest] = wrap(right, '', 100 - column);
      const head = left.length >= column ? [left, ' '.repeat(column) + first] : [left.padEnd(column) + first];
      return [...head, ...rest.map((line) => ' '.repeat(column) + line)];
    }),
    '',
    'Examples:',
    ...command.examples.map((e) => `  ${e}`),
    '',
  ].join('\n');
}

function wrap(sentence: string, indent: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of sentence.split(' ')) {
    if (line && indent.length + line.length + 1 + word.length > width) {
      lines.push(indent + line);
      line = word;
    } else line = line ? `${line} ${word}` : word;
  }
  return [...lines, indent + line];
}
