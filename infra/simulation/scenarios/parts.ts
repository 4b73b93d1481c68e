// What the plots of scenarios are put together from.
import { defaultLimits } from '../../../shared/convoy/outputs.ts';
import type { Limits } from '../../../shared/convoy/outputs.ts';
import type { StandardSchema } from '../../../shared/convoy/schema.ts';
import type { Rates } from '../faults.ts';
import type { SimulatedMessage } from '../messages.ts';
import type { Random } from '../random.ts';

export interface Numbered {
  n: number;
}

export const messagesPerHistory = 50;

/** `{ n: number }`, anything else is invalid. */
export const numbered: StandardSchema<Numbered> = {
  '~standard': {
    version: 1,
    vendor: 'convoy',
    validate: (value) => {
      const isRight = typeof value === 'object' && value !== null && 'n' in value;
      const n = isRight ? value.n : undefined;
      return typeof n === 'number' ? { value: { n } } : { issues: [{ message: 'n is no number' }] };
    },
  },
};

/** A little of everything that a platform does to an application. */
export const usualFaults: Rates = {
  'host.crash': 0.002,
  'host.freeze': 0.000_5,
  'host.clockJump': 0.000_5,
  'broker.lockLost': 0.002,
  'hub.terminate': 0.000_7,
  'hub.purge': 0.000_5,
  'hub.rerun': 0.000_7,
  'sweep.extra': 0.000_5,
  'sender.repeat': 0.05,
  'sender.ambiguous': 0.02,
  'broker.renewFails': 0.1,
  'broker.settleLost': 0.01,
  'broker.settleAmbiguous': 0.01,
  'hub.startFails': 0.05,
  'hub.startAmbiguous': 0.05,
  'hub.startSlow': 0.02,
  'hub.wakeLost': 0.2,
  'hub.wakeDoubled': 0.1,
  'hub.wakeLate': 0.1,
  'hub.wakeFails': 0.03,
  'hub.replay': 0.1,
  'hub.episodeLate': 0.01,
  'hub.eventsDropped': 0.5,
  'hub.activityFails': 0.02,
  'hub.activityDoubled': 0.04,
  'hub.activityRepeated': 0.03,
  'hub.resultLost': 0.01,
  'store.throttled': 0.006,
  'store.timeout': 0.004,
  'store.timeoutApplied': 0.008,
  'store.slow': 0.006,
  'store.slowAnswer': 0.006,
  'store.stale': 0.05,
  'publisher.refused': 0.01,
  'publisher.ambiguous': 0.02,
  'publisher.partly': 0.02,
  'publisher.slow': 0.01,
};

export interface SendOptions {
  messages: number;
  keys: number;
  /** Ids that nobody can apply before all is mended. */
  broken?: Set<string>;
  brokenShare?: number;
  /** Of each: what is refused by the business, by the schema, and what has no key. */
  rejectedShare?: number;
  invalidShare?: number;
  keylessShare?: number;
  bySender?: boolean;
  /** Longest pause between two messages of a key. */
  pauseMsMax?: number;
  schemaVersion?: (random: Random) => number;
  /** No pause is so long that the key would close. */
  isSteady?: boolean;
}

const eventsStartMs = Date.UTC(2026, 0, 1);

/** Bursts and pauses, spread over the keys; events ten seconds apart, some out of order. */
export function messagesFor(random: Random, options: SendOptions): SimulatedMessage[] {
  const { keys, messages } = options;
  const sentAt = Array.from({ length: keys }, () => 0);
  const numbers = Array.from({ length: keys }, () => 0);
  const ranks = options.bySender ? shuffledRanks(random, messages) : undefined;
  const counts = Array.from({ length: keys }, () => 0);
  const of = Array.from({ length: messages }, () => random.below(keys));
  const all: SimulatedMessage[] = [];
  for (const [i, k] of of.entries()) {
    const number = (numbers[k] = (numbers[k] ?? 0) + 1);
    const sendAt = (sentAt[k] = (sentAt[k] ?? 0) + pauseBefore(random, options));
    const late = random.chance(0.15) ? random.below(60_000) : 0;
    const body = bodyOf(random, options, `k${k}m${number}`);
    const isKeyless = random.chance(options.keylessShare ?? 0);
    const key = isKeyless ? '' : `k${k}`;
    const occurredAt = Math.max(eventsStartMs, eventsStartMs + number * 10_000 - late);
    const version = options.schemaVersion?.(random);
    const id = isKeyless ? `keyless${i}` : `k${k}m${number}`;
    const senderPosition = isKeyless ? undefined : (counts[k] = (counts[k] ?? 0) + 1);
    all.push({
      key,
      id,
      type: 'added',
      ...body,
      ...(isKeyless && { expect: 'applied' as const, text: '{"n":1}' }),
      ...(ranks && senderPosition !== undefined && { senderPosition }),
      ...(version !== undefined && { schemaVersion: version }),
      occurredAt,
      sendAt,
    });
  }
  return ranks ? outOfOrder(random, all) : all;
}

/** Mostly none, often short, now and then long. */
function pauseBefore(random: Random, options: SendOptions): number {
  const { pauseMsMax = 20_000, isSteady = false } = options;
  const draw = random.next();
  if (draw < 0.6 && !isSteady) return Math.floor(20 * draw);
  return Math.floor(draw < 0.92 ? 2_000 * draw : pauseMsMax * random.next());
}

function bodyOf(
  random: Random,
  options: SendOptions,
  id: string,
): Pick<SimulatedMessage, 'text' | 'expect'> {
  if (random.chance(options.invalidShare ?? 0)) {
    const text = random.chance(0.5) ? '{"n":' : '{"n":"seven"}';
    return { text, expect: 'invalid' };
  }
  const n = 1 + random.below(9);
  if (random.chance(options.rejectedShare ?? 0)) return { text: `{"n":-${n}}`, expect: 'rejected' };
  if (random.chance(options.brokenShare ?? 0)) options.broken?.add(id);
  return { text: `{"n":${n}}`, expect: 'applied' };
}

const shuffledRanks = (random: Random, messages: number): number[] =>
  Array.from({ length: messages }, (_, i) => i + random.below(4));

/** Neighbours of a key change places: their instants of sending stay, the messages move. */
function outOfOrder(random: Random, all: SimulatedMessage[]): SimulatedMessage[] {
  const byKey = new Map<string, number[]>();
  all.forEach(({ key }, i) => byKey.set(key, [...(byKey.get(key) ?? []), i]));
  const moved = [...all];
  for (const [key, places] of byKey) {
    if (key === '') continue;
    const rank = new Map(places.map((place, i) => [place, i + random.below(4)]));
    const order = [...places].sort((a, b) => (rank.get(a) ?? 0) - (rank.get(b) ?? 0) || a - b);
    order.forEach((from, i) => {
      const [message, at] = [all[from], all[places[i] ?? 0]];
      if (message && at) moved[places[i] ?? 0] = { ...message, sendAt: at.sendAt };
    });
  }
  return moved;
}

/** Small limits meet their edges within fifty messages. */
export function limitsFor(random: Random): { limits: Limits; messagesPerCommit: number } {
  const limits: Limits = {
    ...defaultLimits,
    outputsPerItem: random.pick([1, 3, 20]),
    operationsMax: random.pick([20, 40, 90]),
  };
  return { limits, messagesPerCommit: random.pick([1, 3, 7, 42]) };
}
