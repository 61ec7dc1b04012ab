/**
 * A skipped test fails CI, unless what it lacks is a GPU or an instruction set. Such a test says so in the note of
 * `ctx.skip(note)` or in its name: 'needs a GPU', 'needs AVX-512', …
 */
import type { Reporter, TestCase, TestModule } from 'vitest/node';

const MAY_LACK = /needs (a GPU|CUDA|AVX2|AVX-512|AMX|NEON)\b/;

function skipped(module: TestModule): string[] {
  return [...module.children.allTests()].filter((test) => test.result().state === 'skipped').map(words);
}

function words(test: TestCase): string {
  const result = test.result();
  const note = result.state === 'skipped' && result.note ? ` (${result.note})` : '';
  return `${test.module.relativeModuleId} > ${test.fullName}${note}`;
}

export default class Skips implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const all = modules.flatMap(skipped);
    if (all.length === 0) return;
    const wrong = all.filter((test) => !MAY_LACK.test(test));
    const lines = all.map((test) => `  ${test}`);
    process.stderr.write(`${all.length} skipped tests:\n${lines.join('\n')}\n`);
    // A run of chosen tests (`vitest run -t …`) skips the others: on a developer's machine that is no failure.
    if (!process.env['CI'] || wrong.length === 0) return;
    process.stderr.write(
      `${wrong.length} of them lack neither a GPU nor an instruction set: in CI that is a failure.\n`,
    );
    process.exitCode = 1;
  }
}
