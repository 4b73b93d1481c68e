// All mutants, in the order of the rules.
import type { Mutant } from '../mutant.ts';
import { admitting } from './admitting.ts';
import { delivering } from './delivering.ts';
import { draining } from './draining.ts';
import { fencing } from './fencing.ts';
import { holding } from './holding.ts';
import { rollingUp } from './rolling-up.ts';
import { settling } from './settling.ts';
import { sweeping } from './sweeping.ts';
import { waking } from './waking.ts';

export const mutants: Mutant[] = [
  ...admitting,
  ...waking,
  ...fencing,
  ...draining,
  ...holding,
  ...sweeping,
  ...settling,
  ...delivering,
  ...rollingUp,
];
