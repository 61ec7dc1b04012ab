import { defineConfig } from 'vitest/config';
import LongestFirst from './test/sequencer.js';

const shared = {
  testTimeout: 120_000,
  hookTimeout: 120_000,
};

/** Compared with float32 of other software: a processor with AMX would compute in bf16 by default. */
const env = { THAW_MAX_ISA: process.env['THAW_MAX_ISA'] ?? 'avx512' };

/** What another file beside them would disturb. */
const ALONE = [
  // They look at time, at memory, at what a process or the event loop does at a moment.
  'test/robust/**/*.test.ts',
  'test/native-{commands,process}.test.ts',
  'test/train/{kill,disk-cache}.test.ts',
  'test/hub/command.test.ts',
  'test/formats/hdf5.test.ts',
  'test/cli/bench.test.ts',
  // They build the stand-in, in one folder.
  'test/network/*-standin.test.ts',
  'test/parity/operators.test.ts',
  // It reads objects that are written while others build.
  'test/structure.test.ts',
];

/**
 * On whatever the machine has, for they say themselves what they compute in. Without AMX the tiles of bf16 are computed on
 * other vectors, to the same bits; fp32 takes other kernels where there are tiles.
 */
const BEST = ['test/bf16/**/*.test.ts', 'test/parity/{parity,general}.test.ts'];

export default defineConfig({
  test: {
    pool: 'forks',
    reporters: ['default', './test/skips.ts'],
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        test: {
          ...shared,
          name: 'fp32',
          include: ['test/**/*.test.ts'],
          exclude: [...BEST, ...ALONE],
          // Each file uses all processors at times, waits for PyTorch, a server or a process at others, and may take
          // gigabytes: two at once leave few processors idle, and fit into 8 GB.
          maxWorkers: 2,
          env,
        },
      },
      {
        test: {
          ...shared,
          name: 'best',
          include: BEST,
          maxWorkers: 2,
        },
      },
      {
        // After the others: Vitest has a group of its own for projects without parallelism.
        test: { ...shared, name: 'alone', include: ALONE, fileParallelism: false, env },
      },
    ],
  },
});
