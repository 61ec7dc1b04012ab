/** The parts of the documentation that are made from tables of the source. */
import { COMMON_FLAGS } from '../../src/cli/flags.js';
import type { CommandHelp, Flag } from '../../src/cli/flags.js';
import { bench } from '../../src/cli/commands/bench.js';
import { build } from '../../src/cli/commands/build.js';
import { devicesCommand } from '../../src/cli/commands/devices.js';
import { demo } from '../../src/cli/commands/demo.js';
import { evaluate } from '../../src/cli/commands/evaluate.js';
import { exportCommand } from '../../src/cli/commands/export.js';
import { features } from '../../src/cli/commands/features.js';
import { fit } from '../../src/cli/commands/fit.js';
import { inspect } from '../../src/cli/commands/inspect.js';
import { pull } from '../../src/cli/commands/pull.js';
import { predict } from '../../src/cli/commands/predict.js';
import { ONNX_OPERATORS } from '../../src/formats/onnx-claims.js';
import { defaultAugment } from '../../src/data/augment.js';
import { FINE_TUNE_DEFAULTS, FIT_DEFAULTS, FIXED } from '../../src/train/defaults.js';
import type { Default } from '../../src/train/defaults.js';
import { architectures, build as buildNetwork } from '../../src/zoo/index.js';

const table = (head: string[], rows: string[][]): string =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.map(escaped).join(' | ')} |`).join('\n');
const escaped = (cell: string): string => cell.replaceAll('|', '\\|');
/** Prose in lines of 120 columns. */
const wrapped = (text: string): string => text.replaceAll(/(?=.{121})(.{1,120}) /g, '$1\n');

function options(defaults: Record<string, Default>): string {
  const shown = (value: unknown): string =>
    value === undefined ? 'off' : `\`${JSON.stringify(value)?.replaceAll('"', "'")}\``;
  const rows = Object.entries(defaults).map(([name, { value, text }]) => [`\`${name}\``, shown(value), text]);
  return table(['option', 'default', 'what it is'], rows);
}

const KINDS: Record<keyof typeof FIXED, string> = {
  inferenceBatch:
    'samples a batch when features are computed, and in `evaluate`, `predict` and `features` (results do not depend on it)',
  memoryBytes: 'bytes of features kept in memory where `cacheBytes` does not say',
  diskBytes: 'bytes of features kept on disk where `cacheBytes` does not say',
  decodedBytes: 'bytes of decoded pictures kept from epoch to epoch, for training and for validation each',
  patience: 'epochs without improvement before early stopping ends a run',
  threshold: 'probability from which a label of a multi-label head applies',
  top: 'labels of a prediction',
};

function command(help: CommandHelp): string {
  return [
    `## \`thaw ${help.name}\``,
    '',
    `\`thaw ${help.name} ${help.operands}`.trimEnd() + '`',
    '',
    wrapped(help.text),
    '',
    ...(help.flags.length > 0 ? [flagTable(help.flags), ''] : []),
    'Examples:',
    '',
    '```text',
    ...help.examples,
    '```',
  ].join('\n');
}

function flagTable(flags: readonly Flag[]): string {
  const name = ({ name, kind, value }: Flag): string =>
    `\`--${name}${kind === 'switch' ? '' : ` ${value ?? 'VALUE'}`}\``;
  return table(
    ['flag', 'meaning'],
    flags.map((flag) => [name(flag), flag.text]),
  );
}

const commands = [
  fit,
  predict,
  evaluate,
  inspect,
  pull,
  features,
  exportCommand,
  bench,
  devicesCommand,
  demo,
  build,
].map(({ help }) => command(help));

/** A row a network: its size, and how it is shown pictures. */
function networks(): string {
  const rows = architectures().map((name) => {
    const { graph, preprocessing: p } = buildNetwork(name);
    const count = graph.parameters.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
    const size = ([] as unknown[]).concat(p.resize).join(' x ');
    const colours = `${p.mean.join(', ')}; ${p.std.join(', ')}`;
    return [`\`${name}\``, (count / 1e6).toFixed(2), size, String(p.crop ?? 'none'), p.interpolation, colours];
  });
  return table(['network', 'million parameters', 'resize', 'crop', 'interpolation', 'mean; deviation'], rows);
}

/** By file and the name in the comments `<!-- name: begin -->`. */
export const GENERATED: Record<string, Record<string, string>> = {
  'README.md': {
    onnx: wrapped(
      Object.keys(ONNX_OPERATORS)
        .map((name) => `\`${name}\``)
        .join(', '),
    ),
  },
  'docs/defaults.md': {
    fit: options(FIT_DEFAULTS),
    fineTune: options(FINE_TUNE_DEFAULTS),
    augment: `\`\`\`json\n${JSON.stringify(defaultAugment)}\n\`\`\``,
    fixed: table(
      ['what', 'value'],
      (Object.keys(FIXED) as (keyof typeof FIXED)[]).map((name) => [KINDS[name], String(FIXED[name])]),
    ),
  },
  'docs/formats.md': {
    onnx: table(
      ['operator', 'what of it'],
      Object.entries(ONNX_OPERATORS).map(([name, limits]) => [`\`${name}\``, limits || 'all']),
    ),
  },
  'docs/networks.md': { architectures: networks() },
  'docs/command-line.md': {
    commands: [`All commands have these flags:\n\n${flagTable(COMMON_FLAGS)}`, ...commands].join('\n\n'),
  },
};

/** The text with the part between the comments replaced. */
export function withPart(text: string, name: string, part: string): string {
  const [begin, end] = [`<!-- ${name}: begin -->`, `<!-- ${name}: end -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`no place for '${name}'`);
  return `${text.slice(0, from + begin.length)}\n\n${part}\n\n${text.slice(to)}`;
}
