/** The files that take longest begin first, so that none of them runs on alone at the end; then as Vitest would have it. */
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const LONGEST = ['test/parity/parity.test.ts', 'test/package.test.ts', 'test/real/split86.test.ts'];

const rank = ({ moduleId }: TestSpecification): number => {
  const at = LONGEST.findIndex((name) => moduleId.endsWith(name));
  return at < 0 ? LONGEST.length : at;
};

export default class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}
