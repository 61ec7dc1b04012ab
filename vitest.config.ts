import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // The core uses every processor by itself: files side by side would only disturb each other's timing.
    fileParallelism: false,
    pool: 'forks',
    reporters: ['default', './test/skips.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
