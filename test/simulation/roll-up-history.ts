// One hostile history of one roll-up (H13): contributors and publishers over a store whose reads
// are as stale as their session token allows, with a death or a lost answer possible at every call.
// The oracle knows nothing of heads: it reads what left for the output queue.
import { z } from 'zod';
import { defineConvoy } from '../../shared/convoy/definition.ts';
import { defaultLimits } from '../../shared/convoy/outputs.ts';
import type { Output } from '../../shared/convoy/state.ts';
import { publishRollUps, type RollUpPart } from '../../shared/engine/roll-up-publish.ts';
import { contributeOutputs } from '../../shared/engine/roll-up.ts';
import { createLog } from '../../shared/log.ts';
import { createMemoryStore } from '../../shared/store/memory.ts';
import { type ConvoyStore, StoreUnavailable } from '../../shared/store/store.ts';
import { prng, type Prng } from '../support/prng.ts';
import { createScheduler, death, type Scheduler, withFaults } from './scheduler.ts';
import { staleWindows } from './stale-windows.ts';

export interface RollUpHistory {
  /** Parts in the order in which the broker took them. */
  parts: RollUpPart[];
  /** Per key: the highest revision, all of whose writes were confirmed. */
  contributed: Map<string, number>;
  faults: number;
}

export interface RollUpOptions {
  seed: number;
  faultRate: number;
  /** Lets a test break a rule and see it found. */
  sabotage?: (store: ConvoyStore) => ConvoyStore;
}

const keysCount = 6;
const revisions = 3;
const delaySeconds = 5;
const definition = defineConvoy({
  name: 'sums',
  schema: z.unknown(),
  initialState: 0,
  apply: () => 0,
  windows: [
    { name: 'day', kind: 'tumbling', seconds: 600, value: () => 1, rollUp: { delaySeconds } },
  ],
});

/** What a key emits when it closes its window for the n-th time. */
export function closedOutput(key: string, revision: number): Output {
  const value = revision + 1;
  const body = {
    ...{ convoy: 'sums', key, window: 'day' },
    ...{ start: '1970-01-01T00:00:00Z', end: '1970-01-01T00:10:00Z' },
    ...{ count: value, sum: value, min: 1, max: value, first: 1, last: value },
    ...{ revision, final: true },
  };
  const bodyText = JSON.stringify(body);
  return { position: 1, n: revision, type: 'window.closed', bodyText, causationId: '', epoch: 1 };
}

export async function runRollUp(options: RollUpOptions): Promise<RollUpHistory> {
  const random = prng(options.seed);
  const scheduler = createScheduler(random);
  const { clock } = scheduler;
  const history: RollUpHistory = { parts: [], contributed: new Map(), faults: 0 };
  let calm = false;
  const fault = async (): Promise<void> => {
    await scheduler.turn();
    if (calm || !random.chance(options.faultRate)) return;
    history.faults += 1;
    if (random.chance(0.5)) await death();
    throw new StoreUnavailable('no answer');
  };
  // A replica catches up in the end; a writer that works on meanwhile reads what is stale.
  const chosen = (below: number): number => (calm ? below - 1 : random.below(below));
  const stale = staleWindows(createMemoryStore({ clock }), chosen);
  const store = withFaults(options.sabotage ? options.sabotage(stale) : stale, fault);
  const log = createLog('warn', () => undefined);
  const publisher = {
    async publishPart(_: string, part: RollUpPart): Promise<void> {
      await fault();
      history.parts.push(part);
      await fault();
    },
  };
  const definitions = new Map([['sums', definition]]);
  // Two contributions fill a part, so that a revision has several.
  const limits = { ...defaultLimits, outputBytesMax: 2_000 + 250 };
  const engine = { store, clock, log, definitions, limits, publisher };
  const tick = (): void => void publishRollUps(engine, clock.now() + 25_000).catch(() => undefined);

  for (let k = 0; k < keysCount; k += 1) {
    void contributeAll({ store, clock, log }, { key: `k${k}`, random, scheduler, history });
  }
  for (let round = 0; round < 10; round += 1) {
    await scheduler.run(clock.now() + 30_000);
    tick();
    if (random.chance(0.5)) tick();
  }
  calm = true; // finitely many faults: from here on everything must come out
  for (let round = 0; round < 12; round += 1) {
    await scheduler.run(clock.now() + 90_000);
    tick();
  }
  await scheduler.run(clock.now() + 90_000);
  return history;
}

/** As the outbox does it: each revision again and again until it went through. */
async function contributeAll(
  rollUps: Parameters<typeof contributeOutputs>[0],
  world: { key: string; random: Prng; scheduler: Scheduler; history: RollUpHistory },
): Promise<void> {
  const { key, random, scheduler, history } = world;
  const pause = (ms: number) => new Promise<void>((go) => scheduler.clock.after(ms, go));
  for (let revision = 0; revision < revisions; revision += 1) {
    await pause(random.below(80_000));
    for (let isDone = false; !isDone;) {
      const attempt = contributeOutputs(rollUps, { convoy: 'sums', key, definition }, [
        closedOutput(key, revision),
      ]).then(
        () => true,
        () => false,
      );
      isDone = await Promise.race([attempt, pause(20_000).then(() => false)]);
    }
    history.contributed.set(key, revision);
  }
}

interface PartBody {
  keys: number;
  count: number;
  sum: number;
  contributions: { key: string; revision: number; count: number; sum: number }[];
}

/** Everything that is wrong with what left. */
export function violationsOf({ parts, contributed }: RollUpHistory): string[] {
  const violations: string[] = [];
  const known = new Map<string, string>();
  const whole = new Map<number, Map<number, RollUpPart>>();
  let highest = -1;
  for (const part of parts) {
    const before = known.get(part.messageId);
    if (before !== undefined && before !== part.bodyText) {
      violations.push(`${part.messageId} has two contents`);
    }
    known.set(part.messageId, part.bodyText);
    highest = Math.max(highest, part.revision);
    const of = whole.get(part.revision) ?? new Map<number, RollUpPart>();
    whole.set(part.revision, of.set(part.part, part));
  }
  const last = [...(whole.get(highest)?.values() ?? [])].sort((a, b) => a.part - b.part);
  if (last.length === 0 || last.length !== last[0]?.parts) {
    return [...violations, `revision ${highest} is not whole: ${last.length} parts`];
  }
  const bodies = last.map(({ bodyText }) => JSON.parse(bodyText) as PartBody);
  const listed = bodies.flatMap(({ contributions }) => contributions);
  for (const [key, revision] of contributed) {
    const found = listed.filter((contribution) => contribution.key === key);
    if (found.length !== 1 || found[0]?.revision !== revision) {
      violations.push(`revision ${highest} lacks ${key} of revision ${revision}`);
    }
  }
  const sum = listed.reduce((total, contribution) => total + contribution.sum, 0);
  for (const body of bodies) {
    if (body.keys !== listed.length || body.sum !== sum) violations.push('totals are not the sums');
  }
  return violations;
}
