// The contract of the store port: every adapter passes it, so what a simulation shows in memory
// holds on a laptop and in Azure.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { StoreRefused, type ConvoyStore } from '../../shared/store/store.ts';
import { batchClaims } from './store-batch.contract.ts';
import { listClaims } from './store-lists.contract.ts';
import { sweepClaims } from './store-sweep.contract.ts';
import { timeClaims } from './store-time.contract.ts';

export interface StoreTarget {
  store: ConvoyStore;
  /** Moves the clock of the store; absent where time is real. */
  advance?(byMs: number): Promise<void>;
  close(): Promise<void>;
}

export interface Skip {
  reason: string;
  tests: string[];
}

export type Claim = (title: string, body: (target: StoreTarget) => Promise<void>) => void;

/** Claims that need `advance`: to be skipped, by name, where time is real. */
export const timedClaims = [
  'an item is absent from every read once its ttl has passed since its last write',
  'a set of ttl starts the time of an item that had none',
  'an expired id can be created again, and nothing else can be done to it',
  'a ttl of -1 and no ttl at all keep an item',
];

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
    listClaims(claim);
    sweepClaims(claim);
    timeClaims(claim);
  });
}

/** Expects a refusal with this status. */
export async function expectRefused(work: Promise<unknown>, status: number): Promise<void> {
  const error = await work.then(
    () => new Error('it was accepted'),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(StoreRefused);
  expect(error).toMatchObject({ status });
}
