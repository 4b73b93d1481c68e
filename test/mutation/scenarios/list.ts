// Every scenario by its name. The child loads this file once per mutant.
import { aged } from './ageing.ts';
import { keyless, newborn, replayed } from './dead-letters.ts';
import { busy, contended, failing, late, operated, removed, swept, unrested } from './held.ts';
import { astray, calm, hostile, prompt, unwoken } from './hostile.ts';
import { damaged, deployed, refused, unheard, unstaffed } from './outages.ts';
import { rolledUp } from './roll-ups.ts';
import type { Scenario, Violation } from './scenario.ts';
import { simulated } from './simulated.ts';
import { backlog, burst, quiet, windowed } from './windows.ts';

export const scenarios: Record<string, Scenario> = {
  ...simulated,
  ...{ calm, hostile, prompt, astray, unwoken },
  ...{ operated, contended, failing, swept, unrested, late, busy, removed },
  ...{ windowed, backlog, quiet, burst },
  ...{ damaged, deployed, refused, unheard, unstaffed },
  ...{ aged, keyless, newborn, replayed, 'rolled-up': rolledUp },
};

/** A history that cannot even be judged is wrong too. */
export async function runScenario(name: string, seed: number): Promise<Violation[]> {
  const scenario = scenarios[name];
  if (!scenario) throw new RangeError(`no scenario '${name}'`);
  try {
    return await scenario(seed);
  } catch (error) {
    return [{ oracle: 'ends', message: String(error) }];
  }
}
