import { defineConfig } from 'vitest/config';

const shared = {
  testTimeout: 120_000,
  hookTimeout: 120_000,
};

export default defineConfig({
  test: {
    // The core uses every processor by itself: files side by side would only disturb each other's timing.
    fileParallelism: false,
    pool: 'forks',
    reporters: ['default', './test/skips.ts'],
    projects: [
      {
        test: {
          ...shared,
          name: 'fp32',
          include: ['test/**/*.test.ts'],
          exclude: ['test/bf16/**'],
          // Compared with float32 of other software: a processor with AMX would compute in bf16 by default.
          env: { THAW_MAX_ISA: process.env.THAW_MAX_ISA ?? 'avx512' },
        },
      },
      {
        test: {
          ...shared,
          name: 'bf16',
          // On whatever the machine has: without AMX its tiles are computed on other vectors, to the same bits.
          include: ['test/bf16/**/*.test.ts'],
        },
      },
    ],
  },
});
