// The real customer ledger. The smoke file never overdraws: nothing is refused. The overdrawn file
// does: which bookings are refused depends on the order alone, so balances and refused ids are its
// proof.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startLocalStack } from '../../infra/local/stack.ts';
import type { LocalStack } from '../../infra/local/stack.ts';
import { packageRoot } from '../../infra/local/address.ts';
import { Api, Queues, runConvoy, settledAll } from '../support/doors.ts';
import type { MessageSeen } from '../support/doors.ts';
import { dataFile, describeWithData, idsDigest, readTruth } from '../support/shared-data.ts';

interface SmokeTruth {
  n: number;
  balance: number;
  order_sha256: string;
}
interface RejectingTruth {
  n: number;
  applied: number;
  rejected: number;
  balance: number;
  order_sha256: string;
  applied_sha256: string;
  rejected_sha256: string;
}

const setName = 'retail-ledger';
const columns = '--key key --id event_id --type type --time ts'.split(' ');
const idsOf = (messages: readonly MessageSeen[], outcome?: string): string[] =>
  messages.filter((one) => !outcome || one.outcome === outcome).map((one) => one.messageId);

describeWithData('the customer ledger', () => {
  let stack: LocalStack;
  let api: Api;
  let queues: Queues;

  beforeAll(async () => {
    stack = await startLocalStack({ appDir: packageRoot(), memory: true, logLevel: 'error' });
    api = new Api(stack.url);
    queues = new Queues(stack.serviceBus);
  });

  afterAll(async () => {
    await queues?.[Symbol.asyncDispose]();
    await stack?.[Symbol.asyncDispose]();
  });

  async function feed(file: string): Promise<number> {
    const flags = ['--file', dataFile(setName, file), ...columns];
    const to = ['--connection', stack.serviceBus, '--json'];
    const ended = await runConvoy(['send', 'ledger', ...flags, ...to]);
    expect(ended.code, ended.stderr).toBe(0);
    await settledAll(api, queues, 'ledger');
    return (JSON.parse(ended.stdout) as { sent: number }).sent;
  }

  test('a ledger that is never overdrawn: every booking applied, every balance true', async () => {
    const truth = readTruth<Record<string, SmokeTruth>>(setName, 'expected-keys-smoke.json');

    expect(await feed('events-smoke.csv')).toBe(1254);

    for (const [key, { n, balance, order_sha256 }] of Object.entries(truth)) {
      const messages = await api.messages('ledger', key);
      const { state } = await api.show('ledger', key);
      expect({ key, n: messages.length, ...state }).toEqual({ key, n, balance, entries: n });
      expect(idsDigest(idsOf(messages, 'applied'))).toBe(order_sha256);
    }
  });

  test(
    'bookings that would overdraw are refused: the same ones, at the same places',
    // 32,643 messages, 7,983 of them of one key and so one after the other.
    { timeout: 300_000 },
    async () => {
      const truth = readTruth<Record<string, RejectingTruth>>(
        setName,
        'expected-rejecting-overdrawn.json',
      );
      const startedAt = performance.now();

      const sent = await feed('overdrawn.csv.gz');

      const seconds = (performance.now() - startedAt) / 1000;
      console.info(`overdrawn: ${sent} messages in ${seconds.toFixed(1)} s`);
      const totals = { applied: 0, rejected: 0, balance: 0 };
      for (const [key, { max_balance: _, ...expected }] of Object.entries(
        truth as Record<string, RejectingTruth & { max_balance: number }>,
      )) {
        const messages = await api.messages('ledger', key);
        const { state } = await api.show('ledger', key);
        const applied = idsOf(messages, 'applied');
        const rejected = idsOf(messages, 'rejected');
        const seen: RejectingTruth = {
          n: messages.length,
          applied: applied.length,
          rejected: rejected.length,
          balance: Number(state['balance']),
          order_sha256: idsDigest(idsOf(messages)),
          applied_sha256: idsDigest(applied),
          rejected_sha256: idsDigest(rejected),
        };
        expect({ key, ...seen }).toEqual({ key, ...expected });
        totals.applied += seen.applied;
        totals.rejected += seen.rejected;
        totals.balance += seen.balance;
      }
      expect(totals).toEqual({ applied: 32_210, rejected: 433, balance: 605_578_350 });
    },
  );
});
