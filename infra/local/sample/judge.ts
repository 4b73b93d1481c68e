// PURE. The counting of the observer: what was planned against what was seen.
//
// Owns:   every number and verdict of the summary that speaks of correctness.
// Leaves: looking to observer.ts; the app's own opinion of itself is only ever evidence here.
//
// J1. A violation is a place where the first appearances on the output queue step back in the sent
//     order of their key: a swapped pair is one, a dropped or doubled output none.
// J2. Lost is a sent id that is nowhere, or that is settled without its output; counted per id.
// J3. Doubled is an id with two different output ids, two records, or two effects in the state;
//     repeats of one output id are the broker's business and do not count.
import type { KeyPlan, SamplePlan } from './plan.ts';

/** A message seen on the output queue. */
export interface SeenOutput {
  sequence: number;
  key: string;
  messageId: string;
  causationId: string;
  subject: string;
  enqueuedAtMs: number;
}

/** What the API says of one key. */
export interface SeenKey {
  key: string;
  epoch: number;
  phase: string;
  hold: string;
  state: unknown;
  records: readonly { messageId: string; outcome: string }[];
}

export interface Verdict {
  convoys: number;
  messages: Record<MessageCount, number>;
  violations: number;
  lost: number;
  doubled: number;
  published: number;
  epochs: number;
  latencyMs: { p50: number; p99: number };
  /** From the first sending to the last output. */
  seconds: number;
  /** What is wrong, in words; empty when every check holds. */
  failures: string[];
}

type MessageCount =
  'sent' | 'applied' | 'rejected' | 'invalid' | 'duplicate' | 'late' | 'parked' | 'waiting';

export interface Sighting {
  plan: SamplePlan;
  outputs: readonly SeenOutput[];
  keys: readonly SeenKey[];
  /** When each id was first handed to the sender. */
  sentAtMs: Readonly<Record<string, number>>;
}

const namedMax = 5;

export function judge(sighting: Sighting): Verdict {
  const { plan } = sighting;
  const failures = new Failures();
  const outputsByKey = Map.groupBy(inSequence(sighting.outputs), (output) => output.key);
  const seenByKey = new Map(sighting.keys.map((seen) => [seen.key, seen]));
  const messages = countMessages(sighting, seenByKey, failures);
  let violations = 0;
  let lost = 0;
  let doubled = 0;
  for (const keyPlan of plan.keys) {
    const outputs = outputsByKey.get(keyPlan.key) ?? [];
    const seen = seenByKey.get(keyPlan.key);
    violations += descents(keyPlan, outputs);
    lost += lostOf(keyPlan, outputs, seen).length;
    doubled += doubledOf(keyPlan, outputs, seen).length;
    compareKey({ keyPlan, outputs, seen }, failures);
  }
  if (violations > 0) failures.add('order', `${violations} outputs out of the sent order`);
  if (lost > 0) failures.add('lost', `${lost} messages lost`);
  if (doubled > 0) failures.add('doubled', `${doubled} messages with a double effect`);
  const planned = new Set(plan.keys.map(({ key }) => key));
  const published = sighting.outputs.filter(({ key }) => planned.has(key));
  return {
    convoys: plan.keys.length,
    messages,
    violations,
    lost,
    doubled,
    published: new Set(published.map(({ messageId }) => messageId)).size,
    epochs: sighting.keys.reduce((sum, { epoch }) => sum + epoch, 0),
    ...timesOf(published, sighting.sentAtMs),
    failures: failures.list(),
  };
}

function inSequence(outputs: readonly SeenOutput[]): SeenOutput[] {
  return outputs.toSorted((a, b) => a.sequence - b.sequence);
}

/** First appearance of each id, in the order of the queue. */
function firstAppearances(outputs: readonly SeenOutput[]): SeenOutput[] {
  const met = new Set<string>();
  return outputs.filter(({ causationId }) => !met.has(causationId) && met.add(causationId));
}

function descents(plan: KeyPlan, outputs: readonly SeenOutput[]): number {
  const rank = new Map(plan.ids.map((id, i) => [id, i]));
  const ranks = firstAppearances(outputs).flatMap(({ causationId }) => rank.get(causationId) ?? []);
  return ranks.filter((at, i) => i > 0 && at < (ranks[i - 1] ?? 0)).length;
}

function lostOf(plan: KeyPlan, outputs: readonly SeenOutput[], seen: SeenKey | undefined) {
  const answered = new Set(outputs.map(({ causationId }) => causationId));
  const outcomes = new Map(seen?.records.map(({ messageId, outcome }) => [messageId, outcome]));
  return plan.ids.filter((id) => {
    const outcome = outcomes.get(id);
    if (outcome === undefined) return true;
    return (outcome === 'applied' || outcome === 'rejected') && !answered.has(id);
  });
}

function doubledOf(plan: KeyPlan, outputs: readonly SeenOutput[], seen: SeenKey | undefined) {
  const outputIds = new Map<string, Set<string>>();
  for (const { causationId, messageId } of outputs) {
    outputIds.set(causationId, (outputIds.get(causationId) ?? new Set()).add(messageId));
  }
  const records = countEach(seen?.records.map(({ messageId }) => messageId) ?? []);
  const effects = countEach(stepsOf(seen?.state));
  return plan.ids.filter((id) =>
    [outputIds.get(id)?.size, records.get(id), effects.get(id)].some((count = 0) => count > 1),
  );
}

function countEach(ids: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1);
  return counts;
}

function stepsOf(state: unknown): string[] {
  if (typeof state !== 'object' || state === null || !('steps' in state)) return [];
  return Array.isArray(state.steps) ? state.steps.map(String) : [];
}

interface KeySighting {
  keyPlan: KeyPlan;
  outputs: readonly SeenOutput[];
  seen: SeenKey | undefined;
}

/** Outcomes, outputs and final state of one key against its plan. */
function compareKey({ keyPlan, outputs, seen }: KeySighting, failures: Failures): void {
  if (!seen) return failures.add('unknown', `${keyPlan.key} is unknown to the API`);
  for (const { messageId, outcome } of seen.records) {
    const expected = keyPlan.expected[messageId]?.outcome;
    if (expected === undefined) failures.add('unplanned', `${messageId} was never sent`);
    else if (outcome !== expected) {
      failures.add('outcome', `${messageId} is ${outcome}, ${expected} was planned`);
    }
  }
  for (const { causationId, subject } of firstAppearances(outputs)) {
    const expected = keyPlan.expected[causationId]?.subject;
    if (subject !== expected) {
      failures.add('output', `${causationId} gave ${subject}, ${expected ?? 'none'} was planned`);
    }
  }
  if (!isSameState(keyPlan, seen.state)) {
    failures.add('state', `${keyPlan.key} ended as ${JSON.stringify(seen.state)}`);
  }
  if (seen.hold !== 'none') failures.add('hold', `${keyPlan.key} is held: ${seen.hold}`);
}

function isSameState({ state: planned }: KeyPlan, seen: unknown): boolean {
  if (typeof seen !== 'object' || seen === null) return false;
  const { status, amount } = seen as { status?: unknown; amount?: unknown };
  const steps = stepsOf(seen);
  return (
    status === planned.status &&
    amount === planned.amount &&
    steps.length === planned.steps.length &&
    steps.every((id, i) => id === planned.steps[i])
  );
}

const settledOutcomes = ['applied', 'rejected', 'invalid', 'parked', 'waiting'] as const;

function countMessages(
  { plan }: Sighting,
  seenByKey: ReadonlyMap<string, SeenKey>,
  failures: Failures,
): Verdict['messages'] {
  const counts = {
    ...{ sent: plan.messages.length, applied: 0, rejected: 0, invalid: 0 },
    ...{ duplicate: 0, late: 0, parked: 0, waiting: 0 },
  };
  const copies = countEach(plan.messages.map(({ id }) => id));
  for (const { key } of plan.keys) {
    const records = seenByKey.get(key)?.records ?? [];
    const times = countEach(records.map(({ messageId }) => messageId));
    for (const { outcome } of records) {
      const name = settledOutcomes.find((one) => one === outcome);
      if (name) counts[name] += 1;
    }
    for (const [id, count] of times) {
      if (count === 1) counts.duplicate += (copies.get(id) ?? 1) - 1;
    }
  }
  const { sent, late: _, ...others } = counts;
  const accounted = Object.values(others).reduce((sum, count) => sum + count, 0);
  if (accounted !== sent) failures.add('sum', `${sent} sent, ${accounted} accounted for`);
  if (counts.waiting > 0) failures.add('waiting', `${counts.waiting} messages still wait`);
  return counts;
}

function timesOf(outputs: readonly SeenOutput[], sentAtMs: Sighting['sentAtMs']) {
  const latencies = firstAppearances(inSequence(outputs))
    .flatMap(({ causationId, enqueuedAtMs }) => {
      const sentAt = sentAtMs[causationId];
      return sentAt === undefined ? [] : [Math.max(enqueuedAtMs - sentAt, 0)];
    })
    .sort((a, b) => a - b);
  const quantile = (share: number): number =>
    latencies[Math.min(Math.ceil(latencies.length * share), latencies.length) - 1] ?? 0;
  const first = Object.values(sentAtMs).reduce((least, at) => Math.min(least, at), Infinity);
  const last = outputs.reduce((most, { enqueuedAtMs }) => Math.max(most, enqueuedAtMs), 0);
  return {
    latencyMs: { p50: quantile(0.5), p99: quantile(0.99) },
    seconds: Math.max((last - first) / 1000, 0) || 0,
  };
}

/** Names the first few of each kind and counts the rest. */
class Failures {
  readonly #byKind = new Map<string, string[]>();

  add(kind: string, text: string): void {
    this.#byKind.set(kind, [...(this.#byKind.get(kind) ?? []), text]);
  }

  list(): string[] {
    return [...this.#byKind.values()].flatMap((texts) =>
      texts.length > namedMax
        ? [...texts.slice(0, namedMax), `and ${texts.length - namedMax} more like these`]
        : texts,
    );
  }
}
