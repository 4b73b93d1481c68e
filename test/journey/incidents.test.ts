// The real incident log, sent with the real command and read through the HTTP API: order, final
// state and daily windows of every key against the truth that another program computed.
import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startLocalStack } from '../../infra/local/stack.ts';
import type { LocalStack } from '../../infra/local/stack.ts';
import { packageRoot } from '../../infra/local/address.ts';
import { toPathKey } from '../../shared/keys.ts';
import { Api, Queues, runConvoy, settledAll } from '../support/doors.ts';
import type { ConvoySeen } from '../support/doors.ts';
import {
  dataFile,
  describeWithData,
  idsDigest,
  readTruth,
  sha256,
} from '../support/shared-data.ts';

interface KeyTruth {
  n: number;
  final_state: string;
  last_event_id: string;
  order_sha256: string;
}
/** [start, n, sum, min, max, last event id] */
type WindowTruth = [string, number, number, number, number, string];
interface WindowSeen {
  start: string;
  count: number;
  sum: number;
  min: number;
  max: number;
}

const limit = { timeout: 120_000 };
const events = dataFile('incidents', 'events-smoke.csv');
const columns = '--key key --id event_id --type type --time ts'.split(' ');
const truth = () => readTruth<Record<string, KeyTruth>>('incidents', 'expected-keys-smoke.json');
const windowTruth = () =>
  readTruth<Record<string, WindowTruth[]>>('incidents', 'expected-windows-smoke.json');

async function send(stack: LocalStack, args: readonly string[], input?: Readable) {
  const to = ['--connection', stack.serviceBus, '--json'];
  const ended = await runConvoy(['send', 'incidents', ...args, ...columns, ...to], input);
  expect(ended.code, ended.stderr).toBe(0);
  return (JSON.parse(ended.stdout) as { sent: number }).sent;
}

/** The delivery tool of the data set: every fifth event or so comes twice. */
function withRepeats(): Readable {
  const flags = [dataFile('deliver.mjs'), events, '--dup', '5'];
  return spawn(process.execPath, flags, { stdio: ['ignore', 'pipe', 'inherit'] }).stdout;
}

const deliveries = [
  {
    name: 'as recorded',
    repeats: false,
    deliver: (stack: LocalStack) => send(stack, ['--file', events]),
  },
  {
    name: 'with repeats, from standard input',
    repeats: true,
    deliver: (stack: LocalStack) =>
      send(stack, ['--file', '-', '--format', 'ndjson'], withRepeats()),
  },
];

describeWithData('the incident log', () => {
  describe.each(deliveries)('$name', ({ repeats, deliver }) => {
    let stack: LocalStack;
    let api: Api;
    let queues: Queues;
    let sent = 0;

    beforeAll(async () => {
      stack = await startLocalStack({ appDir: packageRoot(), memory: true, logLevel: 'error' });
      api = new Api(stack.url);
      queues = new Queues(stack.serviceBus);
      sent = await deliver(stack);
      await settledAll(api, queues, 'incidents');
    }, limit.timeout);

    afterAll(async () => {
      await queues?.[Symbol.asyncDispose]();
      await stack?.[Symbol.asyncDispose]();
    });

    test('the keys are those of the truth, no more and no less', limit, async () => {
      const seen = await api.list<ConvoySeen>('/convoys?convoy=incidents');

      expect(seen.map(({ key }) => key).sort()).toEqual(Object.keys(truth()).sort());
      expect((await api.totals()).admitted).toBe(1295);
    });

    test('every key: each message applied, in the true order, to the true end', limit, async () => {
      const seen: Record<string, KeyTruth> = {};
      for (const key of Object.keys(truth())) {
        const messages = await api.messages('incidents', key);
        const applied = messages.filter(({ outcome }) => outcome === 'applied');
        const { state } = await api.show('incidents', key);
        seen[key] = {
          n: messages.length,
          final_state: String(state['status']),
          last_event_id: applied.at(-1)?.messageId ?? '',
          order_sha256: idsDigest(applied.map(({ messageId }) => messageId)),
        };
        expect(applied.at(-1)?.type).toBe(state['status']);
      }

      expect(seen).toEqual(
        Object.fromEntries(
          Object.entries(truth()).map(([key, { n, final_state, last_event_id, order_sha256 }]) => [
            key,
            { n, final_state, last_event_id, order_sha256 },
          ]),
        ),
      );
    });

    test('every key: its daily windows are those of the truth', limit, async () => {
      const seen: Record<string, (string | number)[][]> = {};
      for (const key of Object.keys(truth())) {
        const path = `/convoys/incidents/${toPathKey(key)}/windows?window=day`;
        const windows = await api.list<WindowSeen>(path);
        windows.sort((a, b) => (a.start < b.start ? -1 : 1));
        seen[key] = windows.map(({ start, count, sum, min, max }) => [start, count, sum, min, max]);
      }

      expect(seen).toEqual(
        Object.fromEntries(
          Object.entries(windowTruth()).map(([key, all]) => [
            key,
            all.map((one) => one.slice(0, 5)),
          ]),
        ),
      );
      const summary = readTruth<{ digests: { windows_sha256: string } }>(
        'incidents',
        'expected-summary-smoke.json',
      );
      const lines = Object.keys(seen)
        .sort()
        .flatMap((key) => (seen[key] ?? []).map((figures) => `${[key, ...figures].join('\t')}\n`));
      expect(sha256(lines.join(''))).toBe(summary.digests.windows_sha256);
    });

    test('repeats are counted, not listed', limit, async () => {
      const keys = await Promise.all(Object.keys(truth()).map((key) => api.show('incidents', key)));
      const counted = keys.reduce((sum, key) => sum + key.repeats, 0);

      expect(sent > 1295).toBe(repeats);
      expect(counted).toBe(sent - 1295);
    });
  });
});
