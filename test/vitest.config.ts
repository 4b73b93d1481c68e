// How `npm test` runs: our sources only (dist holds the same tests compiled), two workers because
// small machines have two cores, and a limit that a hung journey cannot outlive.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['dist/**', 'node_modules/**', '.convoy/**'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
  },
});
