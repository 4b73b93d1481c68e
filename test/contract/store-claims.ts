// What the claims of the store contract share: their target, and how a refusal looks.
import { expect } from 'vitest';
import { StoreRefused, type ConvoyStore } from '../../shared/store/store.ts';

export interface StoreTarget {
  store: ConvoyStore;
  /** Moves the clock of the store; absent where time is real. */
  advance?(byMs: number): Promise<void>;
  close(): Promise<void>;
}

export type Claim = (title: string, body: (target: StoreTarget) => Promise<void>) => void;

/** Claims that need `advance`: to be skipped, by name, where time is real. */
export const timedClaims = [
  'an item is absent from every read once its ttl has passed since its last write',
  'a set of ttl starts the time of an item that had none',
  'an expired id can be created again, and nothing else can be done to it',
  'a ttl of -1 and no ttl at all keep an item',
];

/** Expects a refusal with this status. */
export async function expectRefused(work: Promise<unknown>, status: number): Promise<void> {
  const error = await work.then(
    () => new Error('it was accepted'),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(StoreRefused);
  expect(error).toMatchObject({ status });
}
