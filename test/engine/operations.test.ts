// What a message costs: operations on the store and their request units, sends, durable starts,
// drains and actions, counted where they leave the engine. The numbers stand in the README.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../../infra/local/address.ts';
import type { ConvoyDefinition } from '../../shared/convoy/definition.ts';
import { defaultLimits } from '../../shared/convoy/outputs.ts';
import { admitMessage } from '../../shared/engine/admit.ts';
import { drain } from '../../shared/engine/drain.ts';
import { type Engine, defaultSettings } from '../../shared/engine/ports.ts';
import { createLog } from '../../shared/log.ts';
import { createMemoryStore } from '../../shared/store/memory.ts';
import { rememberingStore } from '../../shared/store/remembering.ts';
import { summing } from '../convoy/settling.ts';
import { createHub } from '../simulation/hub.ts';
import { createScheduler } from '../simulation/scheduler.ts';
import { prng } from '../support/prng.ts';
import { recorder } from './billed.ts';

interface Counts {
  /** Point reads and queries, by method. */
  reads: Record<string, number>;
  batches: number;
  publishes: number;
  starts: number;
  wakes: number;
  drains: number;
  /** As the Durable Task Scheduler bills: a start, a wake and a timer 1 each, an activity 2. */
  durableActions: number;
  /** By the model of the local Cosmos server. */
  requestUnits: number;
}

/** Nobody is slow: every step goes at once. */
const steady = { ...prng(1), chance: () => false };

/** What a call of store, broker or hub takes: a few milliseconds, as in Azure. */
const callMs = 4;

interface Arrival {
  /** Milliseconds since the first. */
  atMs: number;
}

/** One key, one process, nothing fails. */
async function run(arrivals: Arrival[], { remembers }: { remembers: boolean }): Promise<Counts> {
  const scheduler = createScheduler(steady);
  const counts: Omit<Counts, 'durableActions' | 'requestUnits'> = {
    ...{ reads: {}, batches: 0, publishes: 0, starts: 0, wakes: 0, drains: 0 },
  };
  let timers = 0;
  const pause = (ms: number) => new Promise<void>((go) => scheduler.clock.after(ms, go));
  const plain = createMemoryStore({
    clock: scheduler.clock,
    async intercept({ method }) {
      if (method === 'batch') counts.batches += 1;
      else counts.reads[method] = (counts.reads[method] ?? 0) + 1;
      await pause(callMs);
    },
  });
  const definition: ConvoyDefinition = summing();
  const { store: recorded, requestUnits } = recorder(plain);
  const store = remembers ? rememberingStore(recorded) : recorded;
  const base = {
    store,
    publisher: {
      async publish() {
        counts.publishes += 1;
        await pause(callMs);
      },
      publishPart: async () => {},
    },
    clock: scheduler.clock,
    log: createLog('warn', () => undefined),
    definitions: new Map([['summing', definition]]),
    limits: defaultLimits,
    settings: defaultSettings,
    started: new Set<string>(),
    startedAt: 0,
  };
  const noHub = () => Promise.reject(new Error('a drain needs no hub'));
  const hub = createHub({
    scheduler,
    random: prng(2),
    faults: { lostWake: 0, doubledWake: 0, zombieAttempt: 0 },
    async drain(request) {
      counts.drains += 1;
      await pause(callMs);
      const engine = { ...base, instances: { start: noHub, wake: noHub } };
      const result = await drain(engine, request);
      if (result.kind === 'waiting') timers += 1;
      return result;
    },
  });
  const instances: Engine['instances'] = {
    start: async (id, input) => {
      counts.starts += 1;
      return hub.start(id, input);
    },
    wake: async (id) => {
      counts.wakes += 1;
      return hub.wake(id);
    },
  };
  const engine: Engine = { ...base, instances };
  const startMs = scheduler.clock.now();
  // A session: the next message comes when this one is completed.
  const feed = async (): Promise<void> => {
    for (const [i, { atMs }] of arrivals.entries()) {
      const at = Math.max(scheduler.clock.now(), startMs + atMs);
      await pause(at - scheduler.clock.now());
      const bodyText = JSON.stringify({ n: 1 });
      const message = { messageId: `m${i}`, type: 'added', bodyText, schemaVersion: 1 };
      await admitMessage(engine, {
        convoy: 'summing',
        key: 'k',
        message: { ...message, occurredAt: at, enqueuedAt: at },
        sequence: i,
      });
    }
  };
  void feed();
  await scheduler.run(startMs + 120_000);
  const reading = plain.readGate('summing:k');
  await scheduler.run(startMs + 130_000);
  const gate = (await reading)?.item;
  expect(gate).toMatchObject({ phase: 'idle', tail: arrivals.length });
  const durableActions = counts.starts + counts.wakes + 2 * counts.drains + timers;
  return { ...counts, durableActions, requestUnits: await requestUnits() };
}

const total = (reads: Record<string, number>): number =>
  Object.values(reads).reduce((a, b) => a + b, 0);
const sparse = Array.from({ length: 5 }, (_, i) => ({ atMs: i * 3_000 }));
const burst = Array.from({ length: 100 }, () => ({ atMs: 0 }));

test('sparse: five messages of a key, seconds apart, served by one process', async () => {
  const counts = await run(sparse, { remembers: true });

  console.info(`sparse, one process: ${JSON.stringify(counts)}`);
  // Per message: admit 1 batch, settle 1 batch, the wait 1 write that also ends the publishing;
  // per epoch: one read, one close.
  expect(total(counts.reads)).toBeLessThanOrEqual(2);
  expect(counts.batches).toBeLessThanOrEqual(3 * 5 + 1);
  expect(counts).toMatchObject({ publishes: 5, starts: 1 });
});

test('sparse: where every drain reads afresh', async () => {
  const counts = await run(sparse, { remembers: false });

  console.info(`sparse, nothing remembered: ${JSON.stringify(counts)}`);
  expect(counts.batches).toBeLessThanOrEqual(3 * 5 + 1);
  expect(counts.reads['readInbox']).toBeLessThanOrEqual(5);
  expect(counts.starts).toBe(1);
});

test('burst: a hundred messages of a key at once need at most five drains', async () => {
  const counts = await run(burst, { remembers: true });

  console.info(`burst: ${JSON.stringify(counts)}`);
  expect(counts.drains).toBeLessThanOrEqual(5);
  expect(counts.starts).toBe(1);
});

/** The table of the README, made of what was counted. */
function costTable(few: Counts, many: Counts): string {
  const units = ({ requestUnits }: Counts, messages: number): string => {
    const all = Math.round(requestUnits).toLocaleString('en');
    return `${all} (${Math.round(requestUnits / messages)} each)`;
  };
  const lines: [string, (counts: Counts, messages: number) => string | number][] = [
    ['Cosmos DB: reads', ({ reads }) => total(reads)],
    ['Cosmos DB: batches', ({ batches }) => batches],
    ['Cosmos DB: request units', units],
    ['Service Bus: sends of outputs', ({ publishes }) => publishes],
    ['Durable: starts', ({ starts }) => starts],
    ['Durable: drains', ({ drains }) => drains],
    ['Durable: actions', ({ durableActions }) => durableActions],
  ];
  return [
    '| counted | 5 messages, 3 s apart | 100 messages at once |',
    '| --- | --- | --- |',
    ...lines.map(([name, of]) => `| ${name} | ${of(few, 5)} | ${of(many, 100)} |`),
  ].join('\n');
}

test('the README says what a message costs, as counted here', async () => {
  const few = await run(sparse, { remembers: true });
  const many = await run(burst, { remembers: true });
  const readme = readFileSync(join(packageRoot(), 'README.md'), 'utf8');
  const plain = readme.replaceAll(/ +\|/g, ' |').replaceAll(/\| -+/g, '| ---');

  expect(plain).toContain(costTable(few, many));
  expect(few.durableActions).toBeLessThanOrEqual(5 * 5);
  expect(many.durableActions).toBeLessThanOrEqual(12);
});
