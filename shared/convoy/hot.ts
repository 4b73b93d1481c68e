// PURE. What holds up a hot key, and what to do about it.
//
// Measured: how long the key has had no pause, how many messages were admitted and settled since,
// how long the last one had waited in the queue, which share of the time its drains spent in the
// handler, in the store and at the output queue, and the request units of its commits. Inferred:
// that the largest share is what limits the key; that what no drain accounts for goes to the hub
// between drains and to other keys of the instance; that a key whose messages wait in the queue and
// not in the inbox is limited by admission, which takes one after the other.
import { type Spent, type Work, hasPause, isHot } from './busy.ts';
import type { Gate, Progress } from './state.ts';

/** What a logical partition of Cosmos DB gives [cosmos 11]. */
const partitionUnitsMax = 10_000;

/** `arrivals`: nothing; it is busy because messages come without a pause. */
export type HotLimit =
  'intake' | 'handler' | 'store' | 'publish' | 'sender' | 'hub' | 'arrivals' | 'unknown';

export interface Hot {
  sinceSeconds: number;
  /** Settled, over the time that was measured. */
  messagesPerSecond: number;
  /** Admitted, since the key is busy. */
  admittedPerSecond: number;
  /** Admitted and not settled. */
  backlog: number;
  /** How long the last admitted message had waited in the queue. */
  queueSeconds: number;
  /** Inferred from the shares. */
  limit: HotLimit;
  /** Of the measured time, 0..1; `other` is what is left. */
  shares: { handler: number; store: number; publish: number; other: number };
  /** Of the key's commits; admissions come on top. */
  requestUnitsPerSecond: number;
  advice: string;
}

/** Null unless the key goes on and has had no pause for long. `progress` may be of another moment
 *  than the gate: what is measured then counts only if it belongs to this busy time. */
export function hotOf(gate: Gate, progress: Progress | undefined, now: number): Hot | null {
  const { busy } = gate;
  if (gate.phase !== 'active' || !isHot(busy, now) || hasPause(gate, now)) return null;
  if (progress !== undefined && progress.hold.kind !== 'none') return null;
  const cursor = Math.min(gate.tail, progress?.cursor ?? busy.position);
  const waiting = progress?.taken.length ?? 0;
  const backlog = gate.tail - cursor + waiting;
  const work = progress?.work?.busySince === busy.since ? progress.work : undefined;
  const { queuedMs } = busy;
  const measured = { ...measuredOf(work, now), backlog, queuedMs };
  const isGap = typeof progress?.gapSince === 'number' && waiting * 2 > backlog;
  const limit = isGap ? 'sender' : limitOf(measured);
  const sinceSeconds = Math.floor((now - busy.since) / 1000);
  return {
    sinceSeconds,
    messagesPerSecond: tenths(measured.messagesPerSecond),
    admittedPerSecond: tenths((gate.tail - busy.position) / Math.max(1, sinceSeconds)),
    backlog,
    queueSeconds: tenths(queuedMs / 1000),
    limit,
    shares: measured.shares,
    requestUnitsPerSecond: Math.round(measured.requestUnitsPerSecond),
    advice: adviceOf[limit](measured),
  };
}

interface Measured {
  messagesPerSecond: number;
  requestUnitsPerSecond: number;
  shares: Hot['shares'];
  backlog: number;
  queuedMs: number;
  isKnown: boolean;
}

/** A message that has waited so long in the queue found others before it. */
const queuedMsMax = 2_000;

function measuredOf(work: Work | undefined, now: number): Omit<Measured, 'backlog' | 'queuedMs'> {
  const ms = work === undefined ? 0 : now - work.since;
  const isKnown = work !== undefined && ms > 0 && spentMs(work) > 0;
  const share = (spent: number): number => Math.round(Math.min(1, spent / ms) * 100) / 100;
  if (!isKnown) {
    const shares = { handler: 0, store: 0, publish: 0, other: 0 };
    return { messagesPerSecond: 0, requestUnitsPerSecond: 0, shares, isKnown };
  }
  const [handler, store, publish] = [work.handlerMs, work.storeMs, work.publishMs].map(share);
  const shares = { handler: handler ?? 0, store: store ?? 0, publish: publish ?? 0 };
  const other = tenths(Math.max(0, 1 - spentMs(work) / ms) * 10) / 10;
  return {
    messagesPerSecond: (work.messages * 1000) / ms,
    requestUnitsPerSecond: (work.requestUnits * 1000) / ms,
    shares: { ...shares, other },
    isKnown,
  };
}

const spentMs = ({ handlerMs, storeMs, publishMs }: Spent): number =>
  handlerMs + storeMs + publishMs;

function limitOf(measured: Measured): HotLimit {
  const { shares, messagesPerSecond, backlog, queuedMs, isKnown } = measured;
  if (!isKnown) return 'unknown';
  // Less than a second of work: it keeps up.
  if (backlog <= Math.max(1, messagesPerSecond))
    return queuedMs > queuedMsMax ? 'intake' : 'arrivals';
  const largest = Math.max(...Object.values(shares));
  if (largest === shares.handler) return 'handler';
  if (largest === shares.store) return 'store';
  return largest === shares.publish ? 'publish' : 'hub';
}

const tenths = (value: number): number => Math.round(value * 10) / 10;
const percent = (share: number): string => `${Math.round(share * 100)} %`;
const splitIt = 'If not all of its messages need one common order, split the key with lanes.';

const adviceOf: Record<HotLimit, (measured: Measured) => string> = {
  intake: ({ queuedMs }) =>
    `What is admitted is settled at once, but messages wait ${Math.round(queuedMs / 1000)} s in ` +
    `the queue: the messages of one session are admitted one after the other, each by a batch of ` +
    `Cosmos DB. Look at the latency of Cosmos DB (GET /health) and at its throttling. ${splitIt}`,
  handler: ({ shares }) =>
    `${percent(shares.handler)} of the time goes to apply and effect, and one key runs one ` +
    `message at a time. Make the handler cheaper, or let a consumer of the output queue do its ` +
    `slow work. ${splitIt}`,
  store: ({ shares, requestUnitsPerSecond: units }) =>
    `${percent(shares.store)} of the time is waiting for Cosmos DB; the commits take ` +
    `${Math.round(units)} RU/s, admissions on top, and one key cannot have more than ` +
    `${partitionUnitsMax} RU/s. Raise the throughput of the container if it answers 429 ` +
    `(GET /stats); keep state and outputs small. ${splitIt}`,
  publish: ({ shares }) =>
    `${percent(shares.publish)} of the time is waiting for the output queue. Check it for ` +
    `throttling (GET /stats) and size; emit less per message. ${splitIt}`,
  sender: () =>
    'Most of the backlog waits for a message that the sender has numbered and not sent; ' +
    'gap.waitSeconds says how long. Look at the sender.',
  hub: ({ shares }) =>
    `${percent(shares.other)} of the time no drain of the key worked: it waited for the durable ` +
    `hub or for the processor. Give the app more or larger instances. ${splitIt}`,
  arrivals: () =>
    'The key keeps up: it is busy because messages come without a pause. Nothing has to be done; ' +
    `before they come faster: ${splitIt}`,
  unknown: () =>
    'No commit of this busy time has been measured yet: an effect may be running, or the ' +
    'instance has just come back. Look again in some seconds.',
};
