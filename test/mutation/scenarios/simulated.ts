// The histories of infra/simulation, every scenario of it by its own name.
import { convoy } from '../../../functions/convoy.ts';
import { scenarios } from '../../../infra/simulation/scenarios.ts';
import { simulate } from '../../../infra/simulation/simulate.ts';
import type { Scenario } from './scenario.ts';

export const simulated: Record<string, Scenario> = Object.fromEntries(
  scenarios.map(({ name }) => [
    name,
    async (seed: number) =>
      (await simulate({ seed, scenario: name, orchestrator: convoy })).violations,
  ]),
);
