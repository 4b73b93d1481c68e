// The examples of the README, compiled and run. The README shows them word for word; the last test
// holds both equal.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { packageRoot } from '../../infra/local/address.ts';
import { defineConvoy } from '../../shared/convoy/definition.ts';
import { newestPlace } from '../../shared/lanes.ts';
import { runConvoy } from '../../shared/run-convoy.ts';
import { runConvoy as runCli } from '../support/doors.ts';

/** Stands for the payment provider of the example. */
const charged: string[] = [];
const payments = {
  async charge(_: number, { key }: { key: string; signal: AbortSignal }) {
    charged.push(key);
    return { receipt: `r${charged.length}` };
  },
};

const transfers = defineConvoy({
  name: 'transfers',
  schema: z.object({ amount: z.number() }),
  initialState: { receipts: [] as string[] },
  // Work with the outside world: at least once, one message at a time, committed before the next.
  async effect(message, { idempotencyKey, signal }) {
    return payments.charge(message.body.amount, { key: idempotencyKey, signal });
  },
  effectSeconds: 20,
  retry: { attempts: 5, firstDelaySeconds: 2, factor: 3 }, // durable; the key stays in order
  onPoison: 'park', // or 'block' (default), or 'park-lane'
  apply: (state, message, context) => ({
    receipts: [...state.receipts, context.effect?.receipt ?? ''],
  }),
});

const documents = defineConvoy({
  name: 'documents',
  schema: z.object({ text: z.string() }),
  initialState: { text: '' },
  order: 'sender', // by senderPosition 1, 2, 3 … instead of by arrival
  gap: { waitSeconds: 60, onTimeout: 'block' }, // or 'continue': then what comes late is stale
  apply: (state, message, context) => {
    if (message.type === 'Archived') context.complete(); // ends the convoy, closes its windows
    return { text: message.body.text };
  },
  afterComplete: 'reject', // or 'park' (default), or 'reopen'
});

const tills = defineConvoy({
  name: 'tills',
  schema: z.object({ cents: z.number().int() }),
  initialState: { sales: 0 },
  apply: (state) => ({ sales: state.sales + 1 }),
  windows: [
    {
      name: 'shop-day', // from 2 PM to 2 PM, summer time included
      kind: 'tumbling',
      calendar: { timeZone: 'Europe/Berlin', startsAt: '14:00' },
      value: (message) => message.body.cents,
      graceSeconds: 300,
      quietSeconds: 3600,
      late: 'amend', // or 'drop', 'next', 'park'
      rollUp: { delaySeconds: 60 }, // all tills of the day in one batch
    },
    {
      name: 'last-ten-minutes',
      kind: 'hopping',
      seconds: 600,
      everySeconds: 60,
      value: (message) => message.body.cents,
      reduce: { initial: '', add: (sales, message) => `${String(sales)} ${message.body.cents}` },
      late: 'drop',
    },
    {
      name: 'rush', // ends 30 s after its last sale
      kind: 'session',
      gapSeconds: 30,
      value: () => 1,
      earlyEvery: 100, // `window.early` after every 100 sales
    },
  ],
});

const customers = defineConvoy({
  name: 'customers',
  version: 2,
  schema: z.object({ fullName: z.string() }),
  initialState: { fullName: '' },
  upcast: { 1: (body) => ({ fullName: (body as { name: string }).name }) }, // old messages
  migrate: { 1: (state) => ({ fullName: (state as { name: string }).name }) }, // old state
  apply: (_, message) => ({ fullName: message.body.fullName }),
  lingerSeconds: 5, // how long an instance waits for the next message before it closes
  retentionSeconds: 30 * 86_400, // settled messages and closed windows expire by TTL
  dedupSeconds: 7 * 86_400, // a message id is known so long after it has settled
});

const devices = defineConvoy({
  name: 'devices',
  schema: z.object({ watts: z.number() }),
  initialState: { total: 0 },
  // plant-7 was split into 4 lanes, then into 8 in a queue of its own: append, never edit.
  lanes: { 'plant-7': [4, { count: 8, queue: 'devices-hot' }] },
  apply: (state, message) => ({ total: state.total + message.body.watts }),
  merge: (lanes) => ({ total: lanes.reduce((sum, { state }) => sum + state.total, 0) }), // reads
});

test('effects, retries and parking', () => {
  const run = runConvoy(transfers, [{ body: { amount: 5 } }, { body: { amount: 6 } }], {
    effect: (message) => {
      if (message.position === 2) throw new Error('declined');
      return { receipt: 'r1' };
    },
  });

  expect(run.state).toEqual({ receipts: ['r1'] });
  expect(run.settlements.map(({ outcome, code, attempts }) => [outcome, code, attempts])).toEqual([
    ['applied', undefined, 1],
    ['parked', 'CVY_EFFECT', 5],
  ]);
});

test('the order of the sender, and the end of a convoy', () => {
  const run = runConvoy(documents, [
    { body: { text: 'second' }, senderPosition: 2, type: 'Archived' },
    { body: { text: 'first' }, senderPosition: 1 },
    { body: { text: 'third' }, senderPosition: 3 },
  ]);

  expect(run.state).toEqual({ text: 'second' });
  expect(run.settlements.map(({ position, outcome }) => [position, outcome])).toEqual([
    [2, 'applied'],
    [1, 'applied'],
    [3, 'rejected'],
  ]);
});

test('windows', () => {
  const run = runConvoy(tills, [
    { body: { cents: 250 }, occurredAt: '2026-06-10T11:59:00Z' },
    { body: { cents: 100 }, occurredAt: '2026-06-10T12:00:00Z' },
    { body: { cents: 900 }, occurredAt: '2026-06-10T12:30:00Z' },
  ]);

  const of = (name: string) =>
    [...run.closedWindows, ...run.openWindows].filter(({ window }) => window === name);
  expect(of('shop-day').map(({ sum }) => sum)).toEqual([250, 1000]);
  expect(of('last-ten-minutes')).toHaveLength(11 + 10);
  expect(of('last-ten-minutes').at(-1)?.result).toBe(' 900');
  expect(of('rush').map(({ count }) => count)).toEqual([1, 1, 1]);
});

test('lanes', () => {
  const states = [1, 2].map((watts, lane) => {
    const run = runConvoy(devices, [{ body: { watts }, laneKey: `d${watts}` }]);
    return { generation: 1, lane, state: run.state };
  });

  expect(devices.merge?.(states)).toEqual({ total: 3 });
  const layout = { refreshSeconds: 60, ...devices.lanes };
  expect(newestPlace(layout, 'plant-7', 'd1')).toMatchObject({ queue: 'devices-hot' });
  expect(newestPlace(layout, 'plant-8', 'd1')).toMatchObject({ key: 'plant-8', generation: 0 });
});

test('versions', () => {
  const run = runConvoy(customers, [{ body: { name: 'Ada' }, schemaVersion: 1 }]);

  expect(run.state).toEqual({ fullName: 'Ada' });
});

// A convoy is tested with an array: no Azure, no clock.
test('an overdraft is rejected', () => {
  const ledger = defineConvoy({
    name: 'ledger',
    schema: z.looseObject({ amount: z.coerce.number().int() }),
    initialState: { balance: 0 },
    apply(account, message, context) {
      const balance = account.balance + message.body.amount;
      if (balance < 0) {
        context.reject('overdrawn'); // recorded, not retried
        return account;
      }
      context.emit('ledger.booked', { balance }); // to the queue ledger-out, in order
      return { balance };
    },
  });
  const run = runConvoy(ledger, [{ body: { amount: 5 } }, { body: { amount: -9 } }]);

  expect(run.state).toEqual({ balance: 5 });
  expect(run.settlements[1]).toMatchObject({ outcome: 'rejected', reason: 'overdrawn' });
});

test('the README asks of the command line what it can do', async () => {
  const readme = readFileSync(join(packageRoot(), 'README.md'), 'utf8');
  const blocks = [...readme.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, code = '']) => code);
  const lines = blocks
    .flatMap((code) => code.split('\n'))
    .filter((l) => l.startsWith('npx convoy'));
  const help = new Map<string, Promise<string>>();

  expect(lines.length).toBeGreaterThan(5);
  for (const line of lines) {
    const [verb = '', ...rest] = line
      .replaceAll(/'[^']*'/g, "''")
      .split(/\s+/)
      .slice(2);
    const known = help.get(verb) ?? runCli([verb, '--help']).then(({ stdout }) => stdout);
    help.set(verb, known);
    for (const flag of rest.filter((word) => word.startsWith('--')))
      expect(await known, line).toMatch(new RegExp(`^\\s+${flag}\\b`, 'm'));
  }
});

test('the README shows what is compiled and run here', () => {
  const plain = (text: string): string => text.replaceAll(/\s+/g, ' ');
  const readme = readFileSync(join(packageRoot(), 'README.md'), 'utf8');
  const here = plain(
    readFileSync(join(packageRoot(), 'test', 'readme', 'examples.test.ts'), 'utf8'),
  );
  const blocks = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code = '']) => code);

  expect(blocks.length).toBeGreaterThan(4);
  for (const block of blocks) {
    const code = block.replace(/^\/\/ functions.*\n/, '').replace(/^export const/, 'const');
    expect(here).toContain(plain(code).trim());
  }
});
