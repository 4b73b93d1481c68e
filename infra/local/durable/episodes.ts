// Decides which instance runs when: one episode per instance at a time, many instances at once.
//
// Owns:    the ready set, the concurrency bound, retry of episodes that could not commit.
// Leaves:  what an episode does to execute.ts, what it writes to commit.ts.
//
// Invariants:
//   D1. At most one episode of an instance runs; a wake meanwhile means one more afterwards.
//   D2. An instance with messages it may take is in the ready set, running, or waits for a retry.
//   D3. An episode that throws (storage fault, simulated death) leaves no trace and is retried.
import { commitEpisode, selectBatch, type Committed } from './commit.ts';
import { runEpisode, type Outcome } from './execute.ts';
import { textOf } from './fault.ts';
import { GenerationCache, loadGeneration, type Generation } from './generation.ts';
import { enter, eventType, type ControlEvent, type InboundEvent } from './history.ts';
import type { HubParts, HubStep } from './hub.ts';
import { isoMs, isTerminal } from './instances.ts';
import type { InstanceItem, MessageItem, RuntimeStatus } from './storage.ts';

export interface Episodes {
  start(): void;
  wake(instanceId: string): void;
  drain(): Promise<void>;
  readonly isBusy: boolean;
}

const messagesPerEpisodeMax = 1_000;
const firstRetryMs = 20;
const retryMsMax = 30_000;

interface Run {
  generation: Generation;
  taken: MessageItem[];
  events: InboundEvent[];
  status: RuntimeStatus;
  nowMs: number;
}

export function openEpisodes(parts: HubParts, concurrentMax: number): Episodes {
  const { storage, clock, log } = parts;
  const cache = new GenerationCache();
  const ready = new Set<string>();
  const running = new Set<string>();
  const again = new Set<string>();
  const failures = new Map<string, number>();
  const drainWaiters: (() => void)[] = [];
  let isTaking = false;

  function wake(instanceId: string): void {
    if (running.has(instanceId)) again.add(instanceId);
    else ready.add(instanceId);
    pump();
  }

  function pump(): void {
    if (!isTaking) return;
    for (const instanceId of ready) {
      if (running.size >= concurrentMax) return;
      ready.delete(instanceId);
      running.add(instanceId);
      void perform(instanceId);
    }
  }

  async function perform(instanceId: string): Promise<void> {
    let retryAfterMs: number | undefined;
    try {
      const mayHaveMore = await episode(instanceId);
      if (mayHaveMore) again.add(instanceId);
      failures.delete(instanceId);
    } catch (error) {
      const count = failures.get(instanceId) ?? 0;
      failures.set(instanceId, count + 1);
      retryAfterMs = Math.min(firstRetryMs * 2 ** count, retryMsMax);
      log('warning', `episode of ${instanceId}: ${textOf(error)}; again in ${retryAfterMs} ms`);
    }
    running.delete(instanceId);
    if (retryAfterMs !== undefined) {
      again.delete(instanceId);
      clock.after(retryAfterMs, () => wake(instanceId));
    } else if (again.delete(instanceId)) ready.add(instanceId);
    if (running.size === 0) for (const resolve of drainWaiters.splice(0)) resolve();
    pump();
    parts.settled();
  }

  /** One episode; true when the inbox may hold more. */
  async function episode(instanceId: string): Promise<boolean> {
    // A re-used id has a new execution: what is cached of the old one is not it.
    const cached = cache.take(instanceId);
    const item = storage.instance(instanceId);
    if (!item || isTerminal(item.status)) {
      await discard(instanceId);
      return false;
    }
    const isCurrent = cached && cached.item.executionId === item.executionId;
    const generation = isCurrent ? cached : loadGeneration(storage, item);
    const isSuspended = item.status === 'Suspended';
    const found = messagesFor(item, isSuspended);
    if (found.current.length === 0) {
      if (found.stale.length > 0) await forget(instanceId, found.stale);
      cache.put(generation);
      return found.isFull;
    }
    const batch = selectBatch(found.current, isSuspended);
    if (batch.taken.length === 0) {
      cache.put(generation);
      return false;
    }
    const nowMs = Math.max(clock.now(), generation.lastEventAt);
    const status = batch.isSuspended ? 'Suspended' : 'Running';
    const taken = [...batch.taken, ...found.stale];
    await runAndCommit({ generation, taken, events: batch.events, status, nowMs });
    return found.isFull;
  }

  function messagesFor(item: InstanceItem, isSuspended: boolean) {
    let messages = storage.messages(item.id, messagesPerEpisodeMax, isSuspended);
    if (isSuspended && messages.length > 0) {
      // What was held back while suspended comes with the resume, in order.
      const control = new Set(messages.map(({ sequence }) => sequence));
      const all = storage.messages(item.id, messagesPerEpisodeMax, false);
      messages = [...all.filter(({ sequence }) => !control.has(sequence)), ...messages];
      messages.sort((a, b) => a.rank - b.rank || a.sequence - b.sequence);
    }
    const isStale = ({ executionId }: MessageItem) =>
      executionId !== null && executionId !== item.executionId;
    return {
      current: messages.filter((message) => !isStale(message)),
      stale: messages.filter(isStale),
      isFull: messages.length >= messagesPerEpisodeMax,
    };
  }

  async function runAndCommit(run: Run): Promise<void> {
    const { generation } = run;
    const { id: instanceId, name } = generation.item;
    await parts.intercept({ kind: 'episode-start', instanceId, name });
    const outcome = await outcomeOf(run);
    warnWhenHeldOpen(generation, outcome);
    const detail = detailOf(outcome);
    await parts.intercept({ kind: 'before-commit', instanceId, name, detail });
    const { taken: consumed, status, nowMs } = run;
    const committed = await storage.commit(() =>
      commitEpisode(storage, { generation, consumed, outcome, status, nowMs }),
    );
    parts.usage.episodes++;
    parts.usage.storageTransactions += committed.storageTransactions;
    if (!isTerminal(generation.item.status)) cache.put(generation);
    follow(generation, committed);
    await afterCommit({ kind: 'after-commit', instanceId, name, detail });
  }

  /** The commit stands whatever happens here; recovery would go on from it, and so do we. */
  async function afterCommit(step: HubStep): Promise<void> {
    try {
      await parts.intercept(step);
    } catch (error) {
      log('warning', `after the commit of ${step.instanceId}: ${textOf(error)}`);
    }
  }

  function follow(generation: Generation, committed: Committed): void {
    for (const instanceId of committed.wake) wake(instanceId);
    if (committed.hasWork) parts.wakeActivities();
    if (committed.hasTimers) parts.wakeTimers();
    if (committed.lostEvents.length > 0) {
      const names = committed.lostEvents.join(', ');
      log('warning', `${generation.item.id} ended; events lost: ${names}`);
    }
  }

  async function outcomeOf(run: Run): Promise<Outcome> {
    const { generation, events, nowMs } = run;
    const startedAt = isoMs(nowMs);
    const terminated = events.find(
      (event): event is ControlEvent => event.EventType === eventType.executionTerminated,
    );
    const isControlOnly = events.every(
      (event) =>
        event.EventType === eventType.executionSuspended ||
        event.EventType === eventType.executionResumed,
    );
    if (!terminated && !isControlOnly) {
      return runEpisode(parts.runner, generation, events, startedAt);
    }
    for (const event of events) enter(generation.ledger, event);
    const started = { EventType: eventType.orchestratorStarted, EventId: -1, Timestamp: startedAt };
    const { customStatus } = generation.item;
    const received = [started, ...events];
    const outcome: Outcome = { received, decisions: [], cancelled: [], customStatus };
    if (!terminated) return outcome;
    const reason = JSON.parse(terminated.Input ?? '""') as string;
    return { ...outcome, ending: { kind: 'terminated', reason } };
  }

  function warnWhenHeldOpen(generation: Generation, outcome: Outcome): void {
    if (!outcome.heldBack || generation.isHeldOpen) return;
    generation.isHeldOpen = true;
    const ids = outcome.heldBack.openIds.join(', ');
    log(
      'warning',
      `${generation.item.id} finished but is kept Running by open tasks ${ids}: ` +
        'cancel timers that lost a race before the orchestrator ends',
    );
  }

  async function discard(instanceId: string): Promise<void> {
    const lost = await storage.commit(() => {
      // The id may have been started again since we looked.
      const item = storage.instance(instanceId);
      return item && !isTerminal(item.status) ? [] : storage.dropMessages(instanceId);
    });
    if (lost.length > 0) log('debug', `${lost.length} messages to ${instanceId}: not running`);
  }

  async function forget(instanceId: string, stale: readonly MessageItem[]): Promise<void> {
    await storage.commit(() => {
      for (const message of stale) storage.dropMessage(instanceId, message);
    });
  }

  return {
    start() {
      isTaking = true;
      pump();
    },
    wake,
    async drain() {
      isTaking = false;
      if (running.size > 0) await new Promise<void>((resolve) => drainWaiters.push(resolve));
    },
    get isBusy() {
      return running.size > 0 || (isTaking && ready.size > 0);
    },
  };
}

function detailOf(outcome: Outcome): string {
  if (outcome.heldBack) return 'heldOpen';
  return outcome.ending?.kind ?? 'waiting';
}
