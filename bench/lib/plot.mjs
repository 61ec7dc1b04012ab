// The newest figure of each goal in RESULTS.md as a picture: how many times better than the peer, on a logarithmic axis.
import { readFileSync, writeFileSync } from 'node:fs';

/** Memory is better the smaller its share: it is drawn as its reciprocal. */
const SHARES = new Set(['P10']);
const FEWEST = 0.5;
const MOST = 16;
const LEFT = 480;
const WIDTH = 520;
const ROW = 22;
const TOP = 46;
const COLOURS = { missed: '#c2702e', must: '#3b7ea1', aim: '#2e8b57' };

/**
 * @typedef {{ name: string, what: string, ratio: number, must: number, aim: number, isa: string }} Bar
 * @param {string} markdown
 * @returns {Bar[]} of the machine of the last record, by case; later records replace earlier ones
 */
export function newest(markdown) {
  const machines = new Map();
  let bars = new Map();
  let isa = '';
  for (const line of markdown.split('\n')) {
    const machine = /^(.*threads, (\w+)); load/.exec(line);
    if (machine) {
      isa = machine[2];
      bars = machines.get(machine[1]) ?? new Map();
      machines.set(machine[1], bars);
    }
    const cells = line.split('|').map((cell) => cell.trim());
    if (!/^P\d+$/.test(cells[1] ?? '')) continue;
    const [, name, network, peer, , , , ratio, must, aim, , remark] = cells;
    if (!/\d/.test(ratio) || !/\d/.test(must)) continue;
    // What was timed by single passes once, and in rows since, is one thing.
    const timed = remark.replace(/, passes in a row$/, '');
    const what = [network, timed && `(${timed})`, 'beside', peer].filter(Boolean).join(' ');
    const [r, m, a] = [ratio, must, aim].map((text) => (SHARES.has(name) ? 1 / parseFloat(text) : parseFloat(text)));
    bars.set(`${name} ${what}`, { name, what, ratio: r, must: m, aim: a, isa });
  }
  return [...bars.values()].sort((a, b) => Number(a.name.slice(1)) - Number(b.name.slice(1)));
}

const x = (ratio) => {
  const bounded = Math.min(Math.max(ratio, FEWEST), MOST);
  return LEFT + (WIDTH * Math.log(bounded / FEWEST)) / Math.log(MOST / FEWEST);
};

const escape = (text) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;');

function row({ name, what, ratio, must, aim, isa }, i) {
  const y = TOP + i * ROW;
  const colour = COLOURS[ratio >= aim ? 'aim' : ratio >= must ? 'must' : 'missed'];
  const [from, to] = [x(1), x(ratio)];
  const tick = (at, stroke) =>
    `<line x1="${x(at).toFixed(1)}" x2="${x(at).toFixed(1)}" y1="${y + 2}" y2="${y + 16}" stroke="${stroke}" stroke-width="2"/>`;
  return [
    `<text x="${LEFT - 12}" y="${y + 13}" text-anchor="end">${escape(`${name} ${what}`)}</text>`,
    `<rect x="${Math.min(from, to).toFixed(1)}" y="${y + 4}" width="${Math.abs(to - from).toFixed(1)}" height="10" fill="${colour}"/>`,
    tick(must, '#444'),
    tick(aim, '#aaa'),
    `<text x="${LEFT + WIDTH + 10}" y="${y + 13}">${ratio.toFixed(2)}x ${isa}</text>`,
  ].join('\n');
}

/** @param {Bar[]} bars */
export function svg(bars) {
  const bottom = TOP + bars.length * ROW;
  const grid = [0.5, 1, 2, 4, 8, 16].map(
    (at) =>
      `<line x1="${x(at).toFixed(1)}" x2="${x(at).toFixed(1)}" y1="${TOP - 6}" y2="${bottom}" stroke="${at === 1 ? '#444' : '#ddd'}"/>` +
      `<text x="${x(at).toFixed(1)}" y="${TOP - 12}" text-anchor="middle">${at}x</text>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${LEFT + WIDTH + 110}" height="${bottom + 30}" font-family="sans-serif" font-size="12" fill="#222">
<rect width="100%" height="100%" fill="#fff"/>
<text x="${LEFT}" y="16" font-size="13">times better than the peer; dark tick: goal, light tick: aim</text>
${grid.join('\n')}
${bars.map(row).join('\n')}
<text x="${LEFT}" y="${bottom + 20}">green: aim reached, blue: goal reached, orange: missed. Memory (P10) as its reciprocal.</text>
</svg>
`;
}

/** Draws the newest results of a file. */
export function plot(results, picture) {
  writeFileSync(picture, svg(newest(readFileSync(results, 'utf8'))));
}
