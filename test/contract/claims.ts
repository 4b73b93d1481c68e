// How a contract suite states its claims: one test per claim, each on a fresh target; a skip is
// named with its reason, which the title shows.
import { test } from 'vitest';

export interface Skip {
  reason: string;
  tests: string[];
}

export interface Contract<Target extends { close(): Promise<void> }> {
  open(): Promise<Target>;
  skip?: Skip[];
}

export type ClaimOf<World> = (title: string, body: (world: World) => Promise<void>) => void;

/** `within` makes the world of a target, runs the body in it and takes the world down again. */
export function claimsOf<Target extends { close(): Promise<void> }, World>(
  { open, skip = [] }: Contract<Target>,
  within: (target: Target, body: (world: World) => Promise<void>) => Promise<void>,
): ClaimOf<World> {
  return (title, body) => {
    const skipped = skip.find(({ tests }) => tests.includes(title));
    if (skipped) {
      test.skip(`${title} [${skipped.reason}]`, () => {});
      return;
    }
    test(title, async () => {
      const target = await open();
      try {
        await within(target, body);
      } finally {
        await target.close();
      }
    });
  };
}
