// kill -9 while a topic copies: T1 and T2 of topic.ts, seen from outside. Either every subscription
// has a message or none has, and what was answered is there, once.
import { setTimeout as sleep } from 'node:timers/promises';
import { ServiceBusClient } from '@azure/service-bus';
import { expect, test } from 'vitest';
import { bodies } from '../contract/service-bus.contract.ts';
import { prng } from '../support/prng.ts';
import type { Prng } from '../support/prng.ts';
import { until } from '../support/until.ts';
import { brokerProcess } from './broker-process.ts';

const broker = brokerProcess();

/** No more than one peek shows. */
const messagesMax = 900;

/** Sends until the broker is gone; half of it for an instant that comes while it sends. */
async function sendUntilGone(
  client: ServiceBusClient,
  { random, reached }: { random: Prng; reached(answered: number): void },
): Promise<number[]> {
  const sender = client.createSender('events');
  const answered: number[] = [];
  for (let next = 1; next < messagesMax; next += 2) {
    const scheduledEnqueueTimeUtc = new Date(Date.now() + random.below(60));
    const pair = [{ body: next }, { body: next + 1, scheduledEnqueueTimeUtc }];
    try {
      await sender.sendMessages(pair);
    } catch {
      break;
    }
    answered.push(next, next + 1);
    reached(answered.length);
  }
  return answered;
}

const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);

test.each([0, 1])(`copies are whole after kill -9 (seed ${seed} + %i)`, async (round) => {
  const random = prng(seed + round);
  const client = await broker.start();
  const killAt = 40 + random.below(100);
  let killing: Promise<void> | undefined;
  const reached = (count: number): void => {
    // While the next send is under way; it ends with its client.
    if (count < killAt) return;
    killing ??= sleep(random.below(3))
      .then(broker.kill)
      .then(() => client.close());
  };
  const answered = await sendUntilGone(client, { random, reached });
  await killing;

  const again = await broker.start();
  const read = async (name: string): Promise<unknown[]> =>
    bodies(await again.createReceiver('events', name).peekMessages(1_000));
  // What was scheduled last is copied after the restart, maybe between the two looks.
  const [a, b] = await until(
    async () => [await read('a'), await read('b')] as const,
    (seen) => answered.every((body) => seen.every((all) => all.includes(body))),
  );
  await again.close();

  expect(killing).toBeDefined();
  expect(b).toEqual(a);
  expect(new Set(a).size).toBe(a.length);
});
