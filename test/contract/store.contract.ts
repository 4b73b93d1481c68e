// The contract of the store port: every adapter passes it, so what a simulation shows in memory
// holds on a laptop and in Azure.
import { afterAll, beforeAll, describe, test } from 'vitest';
import type { Skip } from './claims.ts';
import { batchClaims } from './store-batch.contract.ts';
import type { Claim, StoreTarget } from './store-claims.ts';
import { laneClaims } from './store-lanes.contract.ts';
import { limitClaims } from './store-limits.contract.ts';
import { listClaims } from './store-lists.contract.ts';
import { rollUpClaims } from './store-roll-ups.contract.ts';
import { sweepClaims } from './store-sweep.contract.ts';
import { timeClaims } from './store-time.contract.ts';

/** Runs every claim against one target, opened once. */
export function storeContract(options: {
  name: string;
  open: () => Promise<StoreTarget>;
  skip?: Skip[];
}): void {
  describe(`store contract on ${options.name}`, () => {
    let target: StoreTarget;
    beforeAll(async () => {
      target = await options.open();
    });
    afterAll(() => target.close());
    const claim: Claim = (title, body) => {
      const reason = options.skip?.find(({ tests }) => tests.includes(title))?.reason;
      if (reason === undefined) test(title, () => body(target));
      else test.skip(`${title} (${reason})`);
    };
    batchClaims(claim);
    laneClaims(claim);
    limitClaims(claim);
    listClaims(claim);
    rollUpClaims(claim);
    sweepClaims(claim);
    timeClaims(claim);
  });
}
