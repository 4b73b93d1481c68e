// [H13] Contributors and publishers of one window across keys.
import { runRollUp, violationsOf } from '../../simulation/roll-up-history.ts';
import type { Scenario } from './scenario.ts';

export const rolledUp: Scenario = async (seed) =>
  violationsOf(await runRollUp({ seed, faultRate: 0.05 })).map((message) => ({
    oracle: 'H13',
    message,
  }));
