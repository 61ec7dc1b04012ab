// Rows as an aligned table, as JSON lines, and as Markdown for RESULTS.md.
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { standing } from './case.mjs';

const number = (value) => {
  if (!Number.isFinite(value)) return '-';
  if (Math.abs(value) >= 100) return value.toFixed(0);
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2);
};

function verdict(row) {
  if (!Number.isFinite(row.ratio)) return 'absent';
  if (row.must === undefined) return '-';
  if (standing(row) < 1) return 'missed';
  return standing({ ...row, must: row.aim }) < 1 ? 'must' : 'aim';
}

const HEADINGS = [
  'case',
  'network',
  'peer',
  'thaw',
  'peer has',
  'unit',
  'ratio',
  'must',
  'aim',
  'reached',
  'spread',
  'remark',
];

function cells(name, row) {
  return [
    name,
    row.network,
    [row.peer.name, row.mode].filter(Boolean).join(' '),
    number(row.thaw),
    number(row.value),
    row.unit,
    Number.isFinite(row.ratio) ? `${row.ratio.toFixed(2)}x` : '-',
    row.must === undefined ? '-' : `${row.must}x`,
    row.aim === undefined ? '-' : `${row.aim}x`,
    verdict(row),
    Number.isFinite(row.spread) ? `${(100 * row.spread).toFixed(0)}%` : '-',
    row.remark ?? '',
  ];
}

/** @param {string[][]} rows the first are headings */
export function aligned(rows, right = new Set()) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const line = (row) =>
    row
      .map((cell, i) => (right.has(i) ? cell.padStart(widths[i]) : cell.padEnd(widths[i])))
      .join('  ')
      .trimEnd();
  return rows.map(line).join('\n');
}

/** @param {{ name: string, rows: import('./case.mjs').Row[] }[]} results */
export function table(results) {
  const rows = results.flatMap(({ name, rows }) => rows.map((row) => cells(name, row)));
  return aligned([HEADINGS, ...rows], new Set([3, 4, 6, 7, 8, 10]));
}

/** Versions, processor and load: what the table is worth. */
export function heading(machine, peers) {
  const list = Object.values(peers).map(({ name, version, absent }) => `${name} ${version ?? `absent (${absent})`}`);
  const load = machine.load.toFixed(2);
  return `${machine.model}, ${machine.processors} threads, ${machine.isa}; load before the run ${load}; ${list.join(', ')}`;
}

/** A line per network and peer, then one whose ratio stands worst to its must. */
export function jsonLines({ name, rows }, machine) {
  const line = (row, more = {}) =>
    JSON.stringify({
      case: name,
      network: row.network,
      peerName: row.peer.name,
      ...(row.mode && { mode: row.mode }),
      ratio: row.ratio,
      thaw: row.thaw,
      peer: row.value,
      unit: row.unit,
      must: row.must ?? null,
      aim: row.aim ?? null,
      spread: row.spread,
      peerVersion: row.peer.version ?? null,
      isa: machine.isa,
      ...(row.remark && { remark: row.remark }),
      ...more,
    });
  const measured = rows.filter(({ ratio, must }) => Number.isFinite(ratio) && must !== undefined);
  const worst = measured.reduce((a, b) => (a && standing(a) <= standing(b) ? a : b), undefined);
  return [...rows.map((row) => line(row)), ...(worst ? [line(worst, { worst: true })] : [])].join('\n');
}

const TITLE = `# Measured

Ratios against peers on the same machine in the same run, medians of interleaved repeats: \`npm run bench -- --record\` adds to
this file. An absolute time proves nothing about another machine. Each side's turn begins after 150 ms in which nothing runs. Where
a pass takes less than 20 ms on one side, a turn of either side is a row of passes: one that does not count, then some 100 ms of the
slower side's, of which the mean counts ("passes in a row"). What that first pass takes stands in a row without a goal.
`;

/** Adds the results, with date and machine, to a file. */
export function record(file, results, machine, peers) {
  const headings = HEADINGS.filter((_, i) => i !== 9);
  const lines = results.flatMap(({ name, rows }) => rows.map((row) => cells(name, row).filter((_, i) => i !== 9)));
  const markdown = [headings, headings.map(() => '---'), ...lines].map((row) => `| ${row.join(' | ')} |`).join('\n');
  const date = new Date().toISOString().slice(0, 16).replace('T', ' ');
  if (!existsSync(file)) writeFileSync(file, TITLE);
  const gap = readFileSync(file, 'utf8').endsWith('\n\n') ? '' : '\n';
  appendFileSync(file, `${gap}## ${date} UTC\n\n${heading(machine, peers)}\n\n${markdown}\n`);
}
