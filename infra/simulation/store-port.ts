// The store as one host process sees it: every call is a step, may fail in every way that Azure
// fails, and reads are as stale as a session allows (H14): never older than what this process has
// read or written, unless it died since.
import type { InboxItem } from '../../shared/store/items.ts';
import { itemIds } from '../../shared/store/items.ts';
import type {
  ConvoyStore,
  InstantRange,
  PageFilter,
  StoreOperation,
} from '../../shared/store/store.ts';
import { StoreRefused, StoreUnavailable } from '../../shared/store/store.ts';
import type { Cosmos, ItemOf, Kind, Partition } from './cosmos.ts';
import type { CallFault, Fault } from './faults.ts';
import type { Owner } from './scheduler.ts';
import { siteOf } from './sites.ts';
import type { WindowsContainer } from './windows.ts';
import { windowsPort } from './windows-port.ts';
import type { World } from './world.ts';

const readFaults: readonly CallFault[] = [
  'store.throttled',
  'store.timeout',
  'store.slow',
  'store.slowAnswer',
  'store.stale',
];
const writeFaults: readonly CallFault[] = [
  'store.throttled',
  'store.timeout',
  'store.timeoutApplied',
  'store.slow',
  'store.slowAnswer',
];

export interface Clouds {
  cosmos: Cosmos;
  windows: WindowsContainer;
}

/** One process' view: the version of each partition that its session has seen. */
export type Session = Map<string, number>;

export interface StorePortOptions {
  world: Pick<World, 'scheduler' | 'faults'>;
  clouds: Clouds;
  owner: Owner;
  session: Session;
}

export type Call = <Answer>(
  label: string,
  kinds: readonly CallFault[],
  work: (fault: Fault | undefined) => Answer,
) => Promise<Answer>;

/** Slow: up to 100 s, mostly short. */
export const delayMsOf = ({ value }: Fault): number => Math.floor(50 + 100_000 * value ** 4);

export function createStorePort(options: StorePortOptions): ConvoyStore {
  const call = callsOf(options);
  const reads = readsOf(options, call);
  const { one, list, page, gates, inbox } = reads;
  return {
    readGate: (convoyId) => reads.versioned('gate', convoyId),
    readProgress: (convoyId) => reads.versioned('progress', convoyId),
    readSeen: (convoyId, messageId) => one('seen', convoyId, itemIds.seen(messageId)),
    readInbox: (convoyId, { from, to, limit }) =>
      inbox(convoyId, { positions: positionsIn(from, to), limit }),
    readInboxAt: (convoyId, positions) =>
      inbox(convoyId, { positions: [...positions].sort((a, b) => a - b), limit: Infinity }),
    readOutbox: (convoyId) => list('outbox', convoyId, 'store.read.outbox'),
    readWindow: (convoyId, name, start) => one('window', convoyId, itemIds.window(name, start)),
    readSessions: async (convoyId, name, span) =>
      (await list('window', convoyId, 'store.read.window'))
        .filter(({ window }) => window === name)
        .filter(({ start, end }) => start <= span.end && end >= span.start)
        .sort((a, b) => a.start - b.start),
    batch: (convoyId, operations) =>
      call(`store.write.${siteOf(operations)}`, writeFaults, () =>
        reads.write(convoyId, operations),
      ),
    gatesUnwritten: (range, limit) =>
      gates({ label: 'store.query.unwritten', range, limit }, (gate) =>
        gate.phase === 'active' ? gate.writtenAt : null,
      ),
    gatesDue: (range, limit) =>
      gates({ label: 'store.query.due', range, limit }, (gate) =>
        gate.phase === 'idle' ? gate.dueAt : null,
      ),
    gatesHeldDue: (range, limit) =>
      gates({ label: 'store.query.held', range, limit }, (gate) =>
        gate.phase === 'held' ? gate.dueAt : null,
      ),
    listMessages: async (convoyId, { from, outcome, ...filter }) => {
      const all = await list('inbox', convoyId);
      const isWanted = (item: InboxItem): boolean =>
        item.position >= from && (outcome === undefined || item.outcome === outcome);
      return pageOf(all.filter(isWanted), filter);
    },
    listWindows: (convoyId, filter) => page('window', convoyId, filter),
    listParkedOf: (convoyId, filter) => page('parked', convoyId, filter),
    readDead: (convoyId, id) => one('dead', convoyId, id),
    listDead: (convoyId, filter) => page('dead', convoyId, filter),
    readQuarantine: (convoy, id) => one('quarantine', `${convoy}:`, id),
    listQuarantine: (convoy, filter) => page('quarantine', `${convoy}:`, filter),
    readLayout: (convoy) => reads.versioned('lanes', `${convoy}:`),
    readFence: (convoyId, generation) => one('fence', convoyId, itemIds.fence(generation)),
    ...listsOfPeople,
    ...windowsPort(options.clouds.windows, call, { readFaults, writeFaults }),
  };
}

const positionsIn = (from: number, to: number): number[] =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);

/** The reads that the port is made of, each of them one step. */
function readsOf(options: StorePortOptions, call: Call) {
  const reader = new Reader(options);
  const { cosmos } = options.clouds;
  const read = <Answer>(
    label: string,
    convoyId: string,
    work: (at: At) => Answer,
  ): Promise<Answer> => call(label, readFaults, (fault) => work(reader.at(convoyId, fault)));
  const list = <K extends Kind>(kind: K, convoyId: string, label = `store.list.${kind}`) =>
    read(label, convoyId, ({ partition, version }) => cosmos.all(partition, { kind, version }));
  return {
    list,
    one: <K extends Kind>(kind: K, convoyId: string, id: string) =>
      read(
        `store.read.${kind}`,
        convoyId,
        ({ partition, version }) => cosmos.find(partition, id, { kind, version })?.item,
      ),
    versioned: <K extends 'gate' | 'progress' | 'lanes'>(kind: K, convoyId: string) =>
      read(`store.read.${kind}`, convoyId, ({ partition, version }) =>
        cosmos.find(partition, kind, { kind, version }),
      ),
    inbox: (convoyId: string, at: { positions: readonly number[]; limit: number }) =>
      read('store.read.inbox', convoyId, ({ partition, version }) => {
        const found: InboxItem[] = [];
        for (const position of at.positions) {
          const where = { kind: 'inbox' as const, version };
          const item = cosmos.find(partition, itemIds.inbox(position), where)?.item;
          if (item && found.length < at.limit) found.push(item);
        }
        return found;
      }),
    page: async <K extends Kind>(kind: K, convoyId: string, filter: PageFilter) =>
      pageOf(await list(kind, convoyId), filter),
    gates: async (query: GateQuery, atOf: (gate: ItemOf<'gate'>) => number | null) =>
      oldestFirst(await call(query.label, readFaults, (fault) => reader.gates(fault, atOf)), query),
    write(convoyId: string, operations: readonly StoreOperation[]) {
      const result = cosmos.batch(convoyId, operations);
      if (result.applied) reader.wrote(convoyId);
      return result;
    },
  };
}

interface GateQuery {
  label: string;
  range: InstantRange;
  limit: number;
}

/** Lists that only the pages of operators ask for: no history needs them. */
const notSimulated = (name: string) => (): never => {
  throw new StoreRefused(400, `the simulation has no ${name}`);
};
const listsOfPeople = {
  listGates: notSimulated('listGates'),
  listHeld: notSimulated('listHeld'),
  listAside: notSimulated('listAside'),
  progressOf: notSimulated('progressOf'),
  countRepeats: notSimulated('countRepeats'),
  listBusy: notSimulated('listBusy'),
  totals: notSimulated('totals'),
  check: () => Promise.resolve(),
};

function callsOf({ world, owner }: StorePortOptions): Call {
  const { scheduler, faults } = world;
  return (label, kinds, work) =>
    new Promise((resolve, reject) => {
      const go = (): void => {
        const fault = faults.at(kinds);
        const later = (then: () => void): void =>
          void (fault ? scheduler.after(owner, delayMsOf(fault), then) : then());
        const answer = (): void => {
          try {
            const result = work(fault);
            if (fault?.kind === 'store.slowAnswer') later(() => resolve(result));
            else if (fault?.kind === 'store.timeoutApplied') reject(noAnswer());
            else resolve(result);
          } catch (error) {
            reject(error);
          }
        };
        if (fault?.kind === 'store.throttled') {
          reject(new StoreUnavailable('429', { retryAfterMs: delayMsOf(fault) }));
        } else if (fault?.kind === 'store.timeout') reject(noAnswer());
        else if (fault?.kind === 'store.slow') later(answer);
        else answer();
      };
      scheduler.park({ owner, label, go });
    });
}

const noAnswer = (): StoreUnavailable => new StoreUnavailable('no answer');

interface At {
  partition: Partition;
  version: number;
}

/** Chooses the version that a read sees. */
class Reader {
  readonly #cosmos: Cosmos;
  readonly #session: Session;

  constructor({ clouds, session }: StorePortOptions) {
    this.#cosmos = clouds.cosmos;
    this.#session = session;
  }

  at(convoyId: string, fault: Fault | undefined): At {
    const partition = this.#cosmos.partition(convoyId);
    const version = this.#versionOf(convoyId, partition, fault);
    this.#session.set(convoyId, version);
    return { partition, version };
  }

  wrote(convoyId: string): void {
    this.#session.set(convoyId, this.#cosmos.partition(convoyId).version);
  }

  #versionOf(convoyId: string, partition: Partition, fault: Fault | undefined): number {
    if (fault?.kind !== 'store.stale') return partition.version;
    const seen = this.#session.get(convoyId) ?? 0;
    // Mostly a little late.
    return partition.version - Math.floor(fault.value ** 2 * (partition.version - seen + 1));
  }

  gates(
    fault: Fault | undefined,
    atOf: (gate: ItemOf<'gate'>) => number | null,
  ): { gate: ItemOf<'gate'>; at: number }[] {
    const found: { gate: ItemOf<'gate'>; at: number }[] = [];
    for (const [convoyId, partition] of this.#cosmos.partitions) {
      const version = this.#versionOf(convoyId, partition, fault);
      const gate = this.#cosmos.find(partition, 'gate', { kind: 'gate', version })?.item;
      const at = gate ? atOf(gate) : null;
      if (gate && at !== null) found.push({ gate, at });
    }
    return found;
  }
}

function oldestFirst(
  found: { gate: ItemOf<'gate'>; at: number }[],
  { range, limit }: GateQuery,
): ItemOf<'gate'>[] {
  return found
    .filter(({ at }) => at > range.after && at <= range.upTo)
    .sort((a, b) => a.at - b.at)
    .slice(0, limit)
    .map(({ gate }) => gate);
}

function pageOf<Item extends { id: string }>(
  found: Item[],
  { limit, continuation }: PageFilter,
): { items: Item[]; continuation?: string } {
  const rest = continuation === undefined ? found : found.filter(({ id }) => id > continuation);
  const items = rest.slice(0, limit);
  const last = items.at(-1);
  return rest.length > limit && last ? { items, continuation: last.id } : { items };
}
