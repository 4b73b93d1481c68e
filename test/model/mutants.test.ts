// Goal: the check can fail. Method: each rule of DESIGN §4 broken in the text of the compiled code
// (`npx tsc` first); the small scope named with it has to find a violation, or, where nobody could
// tell the difference, to find none in any state.
import { expect, test } from 'vitest';
import { patchedCode, realCode } from './code.ts';
import { explore } from './explore.ts';
import { mutants } from './mutants.ts';
import { scopeOf } from './patches.ts';
import { System } from './steps.ts';

test.each(mutants)('$rule: $name', async (mutant) => {
  const code = mutant.patches.length > 0 ? await patchedCode(mutant.patches) : realCode;

  const found = await explore(new System(code, scopeOf(mutant)), { statesMax: 200_000 });

  if (mutant.equivalent === undefined) expect(found.violation).toBeDefined();
  else expect([found.violation, found.isComplete]).toEqual([undefined, true]);
});

test('a patch that does not apply is an error', async () => {
  const patch = { file: 'shared/engine/drain.js', find: 'no such text', replace: '' };

  await expect(patchedCode([patch])).rejects.toThrow(/0 places/);
});
