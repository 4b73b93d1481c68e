// Any interleaving of senders, receivers, abandons, deferrals, lost and expired locks and restarts
// delivers each session in order, at least once, never to two holders at the same time [SB 24 I2].
// The pure queue in hundreds of histories; what a failure prints (seed, path) repeats it.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Change } from '../../infra/local/broker/entity-port.ts';
import { Entity } from '../../infra/local/broker/entity.ts';
import type { Entry, Lane, Locked } from '../../infra/local/broker/lane.ts';
import { OrderOracle } from './order-oracle.ts';
import { parsed, sessionQueue } from './queue-under-test.ts';

const actions = [
  ...['send', 'send', 'commit', 'commit', 'accept', 'accept', 'take', 'take', 'take'],
  ...['complete', 'complete', 'abandon', 'defer', 'release', 'lose', 'pass', 'restart'],
] as const;
type Action = (typeof actions)[number];

interface Step {
  action: Action;
  /** Which session, receiver or message. */
  pick: number;
}

const history = fc.array(
  fc.record<Step>({ action: fc.constantFrom(...actions), pick: fc.nat(11) }),
  { maxLength: 120, size: 'max' },
);

/** A queue on a store that forgets what was not committed when the process dies. */
class World {
  readonly oracle = new OrderOracle();
  private entity: Entity;
  private now = 0;
  private readonly durable = new Map<number, Entry>();
  /** With what is recorded and not committed. */
  private current = new Map<number, Entry>();
  private pending: Change[] = [];
  /** What waits for the commit: visibility of sends, answers to settlements. */
  private answers: (() => void)[] = [];
  private readonly counters = new Map<string, number>();
  private holds: { holder: string; token: object; lane: Lane; locks: Locked[] }[] = [];
  private holders = 0;

  constructor() {
    this.entity = this.open();
  }

  private open(): Entity {
    const record = (change: Change): void => {
      this.pending.push(change.kind === 'add' ? { ...change } : change);
      apply(change, this.current);
    };
    const properties = { ...sessionQueue, maxDeliveryCount: 1_000_000 };
    const entity = new Entity({
      path: 'q',
      firstId: 0,
      properties,
      port: {
        record,
        load: (id) => structuredClone(this.current.get(id)),
        hasFailed: () => false,
        seenUntil: () => undefined,
        wake: () => {},
        due: () => {},
        sessionLost: (lane) => this.oracle.released(lane.sessionId ?? ''),
      },
    });
    entity.restore((show) => {
      for (const entry of [...this.durable.values()].sort((a, b) => a.sequence - b.sequence)) {
        show({ ...entry, isDeferred: entry.deferred });
      }
    });
    return entity;
  }

  send(pick: number): void {
    const session = `s${pick % 3}`;
    const number = (this.counters.get(session) ?? 0) + 1;
    this.counters.set(session, number);
    const message = parsed({ sessionId: session, messageId: String(number) });
    const { entries } = this.entity.prepare([message], this.now);
    this.answers.push(() => {
      this.oracle.sent(session, number);
      this.entity.publish(entries, this.now);
    });
  }

  commit(): void {
    for (const change of this.pending.splice(0)) apply(change, this.durable);
    for (const answer of this.answers.splice(0)) answer();
  }

  accept(pick: number): void {
    const holder = `r${++this.holders}`;
    const token = { holder };
    const enter = (lane: Lane): void => {
      this.oracle.accepted(lane.sessionId ?? '', holder);
      this.holds.push({ holder, token, lane, locks: [] });
    };
    if (pick % 2 === 0) {
      const waiter = { holder: token, isGone: false, granted: enter };
      this.entity.sessions.acceptNext(waiter, this.now);
      this.entity.sessions.stopWaiting(waiter);
      return;
    }
    try {
      enter(this.entity.sessions.acceptNamed(`s${pick % 3}`, token, this.now));
    } catch (error) {
      expect(String(error)).toContain('locked by another receiver');
    }
  }

  private heldAt(pick: number) {
    this.holds = this.holds.filter(({ lane, token }) => lane.holder === token);
    return this.holds[pick % Math.max(1, this.holds.length)];
  }

  take(pick: number): void {
    const held = this.heldAt(pick);
    const entry = held && this.entity.head(held.lane, this.now);
    if (!held || !entry) return;
    this.oracle.delivered(entry.sessionId ?? '', Number(entry.messageId), held.holder);
    held.locks.push(this.entity.lock(held.lane, entry, this.now));
  }

  settle(pick: number, how: 'complete' | 'abandon' | 'defer'): void {
    const held = this.heldAt(pick);
    const [locked] = held?.locks.splice(pick % Math.max(1, held.locks.length), 1) ?? [];
    if (!locked) return;
    const session = locked.entry.sessionId ?? '';
    const number = Number(locked.entry.messageId);
    if (how === 'abandon') {
      this.entity.abandon(locked, this.now);
      this.oracle.abandoned(session, number);
      return;
    }
    if (how === 'defer') this.entity.defer(locked);
    else this.entity.complete(locked);
    // Settled for the holder now; for a later one only when the commit came before a crash.
    this.oracle.setAside(session, number);
    this.answers.push(() => this.oracle.done(session, number));
  }

  release(pick: number): void {
    const held = this.heldAt(pick);
    const holder = held?.lane.holder;
    if (!held || !holder) return;
    this.oracle.released(held.lane.sessionId ?? '');
    this.entity.releaseSession(held.lane, holder, this.now);
    for (const locked of held.locks) expect(() => this.entity.complete(locked)).toThrow('lost');
  }

  lose(pick: number): void {
    const held = this.heldAt(pick);
    if (!held) return;
    this.entity.expireSession(held.lane, this.now);
    for (const locked of held.locks) expect(() => this.entity.complete(locked)).toThrow('lost');
  }

  pass(): void {
    this.now += 25_000;
    this.entity.tick(this.now);
  }

  /** kill -9: what was not committed is gone, whoever held anything holds it no more. */
  restart(): void {
    this.pending = [];
    this.answers = [];
    this.current = new Map([...this.durable].map(([id, entry]) => [id, structuredClone(entry)]));
    this.holds = [];
    this.oracle.crashed();
    this.entity = this.open();
  }

  /** Everything that is left, in order, to one receiver per session. */
  drain(): void {
    this.commit();
    for (const { lane } of this.holds) this.entity.expireSession(lane, this.now);
    for (const session of this.counters.keys()) {
      const lane = this.entity.sessions.acceptNamed(session, {}, this.now);
      this.oracle.accepted(session, 'last');
      for (let entry = this.entity.head(lane, this.now); entry;) {
        this.oracle.delivered(session, Number(entry.messageId), 'last');
        this.entity.complete(this.entity.lock(lane, entry, this.now));
        this.oracle.done(session, Number(entry.messageId));
        entry = this.entity.head(lane, this.now);
      }
    }
  }
}

function apply(change: Change, entries: Map<number, Entry>): void {
  if (change.kind === 'remove') entries.delete(change.id);
  if (change.kind === 'add' || change.kind === 'update') {
    entries.set(change.id, structuredClone(change.entry));
  }
}

function run(steps: readonly Step[]): World {
  const world = new World();
  for (const { action, pick } of steps) {
    if (action === 'complete' || action === 'abandon' || action === 'defer') {
      world.settle(pick, action);
    } else world[action](pick);
  }
  world.drain();
  return world;
}

test('any history keeps each session in order, complete, and with one holder', () => {
  fc.assert(
    fc.property(history, (steps) => {
      expect(run(steps).oracle.open()).toEqual([]);
    }),
    { numRuns: 600 },
  );
});
