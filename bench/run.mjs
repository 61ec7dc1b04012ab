// npm run bench -- [P3 P6 …] [--quick] [--repeats N] [--json] [--record] [--list]
// npm run bench -- shapes
// npm run bench -- layers --net resnet50 [--mode step] [--precision bf16] [--batch 16] [--top 20]
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { cases } from './cases/index.mjs';
import { layers } from './layers.mjs';
import { writeShapes } from './lib/shapes.mjs';
import { describeMachine, findOnnxRuntime, findPyTorch } from './lib/machine.mjs';
import { plot } from './lib/plot.mjs';
import { heading, jsonLines, record, table } from './lib/report.mjs';
import { coreInfo } from '../dist/native.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    record: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    repeats: { type: 'string' },
    net: { type: 'string', default: 'resnet50' },
    mode: { type: 'string', default: 'run' },
    precision: { type: 'string', default: 'auto' },
    batch: { type: 'string', default: '16' },
    top: { type: 'string', default: '1000' },
  },
});

const note = (text) => process.stderr.write(`${text}\n`);

/** @returns {import('./lib/case.mjs').Case[]} */
function chosen() {
  const wanted = positionals.map((name) => name.toUpperCase());
  const odd = wanted.find((name) => !cases.some((one) => one.name === name));
  if (odd)
    throw new Error(`expected 'layers' or cases among ${cases.map(({ name }) => name).join(', ')}, received ${odd}`);
  return wanted.length > 0
    ? cases.filter(({ name }) => wanted.includes(name))
    : cases.filter(({ onlyNamed }) => !onlyNamed);
}

async function main() {
  if (positionals[0] === 'layers') {
    const { net, mode, precision } = values;
    return layers({ net, mode, precision, batch: Number(values.batch), top: Number(values.top), repeats: repeats() });
  }
  if (positionals[0] === 'shapes') return writeShapes(fileURLToPath(new URL('shapes', import.meta.url)));
  if (values.list) {
    for (const { name, title } of cases) console.log(`${name.padEnd(4)} ${title}`);
    return;
  }
  // Read before anything of ours runs: what else keeps the machine busy.
  const machine = describeMachine(coreInfo().isa);
  const peers = { torch: findPyTorch(), onnxRuntime: findOnnxRuntime() };
  const context = { quick: values.quick, repeats: repeats(), peers, note };
  note(heading(machine, peers));
  const results = [];
  for (const one of chosen()) {
    note(`${one.name}: ${one.title}`);
    results.push({ name: one.name, rows: await one.run(context) });
    if (values.json) console.log(jsonLines(results.at(-1), machine));
  }
  if (!values.json && results.length > 0) console.log(`\n${table(results)}`);
  if (!values.record) return;
  const file = (name) => fileURLToPath(new URL(name, import.meta.url));
  record(file('RESULTS.md'), results, machine, peers);
  plot(file('RESULTS.md'), file('results.svg'));
}

function repeats() {
  const count = Number(values.repeats ?? (values.quick ? 3 : 11));
  if (!Number.isInteger(count) || count < 1) throw new Error(`expected a count of repeats, received ${values.repeats}`);
  return count;
}

try {
  await main();
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.stack : error}\n`);
  process.exitCode = 1;
}
