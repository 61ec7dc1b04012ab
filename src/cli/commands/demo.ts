import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { percent, textTable } from '../../report/text.js';
import { METHODS, runExperiment } from '../demo/experiment.js';
import type { DemoResult } from '../demo/experiment.js';
import { demoPage } from '../demo/page.js';
import { summariseMethod } from '../demo/statistics.js';
import { engine, number, text } from '../flags.js';
import type { CliCommand } from './command.js';

export const demo: CliCommand = {
  help: {
    name: 'demo',
    operands: '',
    text: 'The main job without any data of your own: draws pictures of twelve vegetables, fruits and leaves, trains a small network on them, and transfers it to cucumbers and zucchini, which it never saw, with 43 pictures each. Writes a page with curves and answers.',
    flags: [
      { name: 'out', kind: 'text', value: 'FILE', text: "The page. Default 'thaw-demo.html'." },
      {
        name: 'seeds',
        kind: 'number',
        value: 'N',
        text: 'Draws of training pictures that each method learns from. Default 5.',
      },
    ],
    examples: ['thaw demo', 'thaw demo --seeds 2 --out page.html'],
  },
  async run({ values }, { output, signal }) {
    const begun = performance.now();
    const out = text(values, 'out') ?? 'thaw-demo.html';
    const folder = await mkdtemp(path.join(os.tmpdir(), 'thaw-demo-'));
    try {
      const result = await runExperiment({
        seed: number(values, 'seed') ?? 0,
        seeds: number(values, 'seeds') ?? 5,
        folder,
        signal,
        say: (line) => output.say(line),
        progress: (task, done, total) => output.progress(task, done, total),
        ...engine(values),
      });
      await writeFile(out, await demoPage(result));
      const seconds = (performance.now() - begun) / 1000;
      output.result(asJson(result, out, seconds), `${resultTable(result)}\n\n${closing(result, out, seconds)}`);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};

/** The table of the demo: methods in rows, means over the draws with their standard deviation. */
export function resultTable(result: DemoResult): string {
  const { target } = result;
  const rows = METHODS.map((method) => {
    const s = summariseMethod(result.trials, method);
    return [
      method,
      `${percent(s.accuracy.mean)} ± ${(100 * s.accuracy.deviation).toFixed(1)}`,
      `${s.seconds.toFixed(1)} s`,
      String(s.trainable),
    ];
  });
  return [
    `${target.kinds.join(' or ')}: ${target.training} pictures to learn from, accuracy on ${target.heldOut} others, mean of ${new Set(result.trials.map((t) => t.seed)).size} draws`,
    '',
    textTable(
      [['', 'accuracy', 'time', 'trained numbers'], ['majority class', percent(target.majority), '', ''], ...rows],
      [1, 2, 3],
    ),
  ].join('\n');
}

function closing(result: DemoResult, out: string, seconds: number): string {
  const { source } = result;
  return [
    `Source network: ${percent(source.accuracy)} on ${source.heldOut} held-out pictures of its ${source.kinds} kinds (guessing: ${percent(source.baseline)}), trained in ${source.seconds.toFixed(0)} s.`,
    `From scratch had twice the passes of the fine-tuned network, at the best of four learning rates (${result.scratchRate}).`,
    `Curves and answers: ${out} (${seconds.toFixed(0)} s in all)`,
  ].join('\n');
}

function asJson(result: DemoResult, out: string, seconds: number) {
  const { examples: _examples, ...source } = result.source;
  const methods = Object.fromEntries(METHODS.map((method) => [method, summariseMethod(result.trials, method)]));
  return {
    page: out,
    seconds,
    source,
    target: result.target,
    scratchRate: result.scratchRate,
    methods,
    trials: result.trials,
  };
}
