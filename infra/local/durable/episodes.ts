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
import { GenerationCache, historyText, loadGeneration, settleRun } from './generation.ts';
import { replayedEventsDefault, type Generation } from './generation.ts';
import { enter, eventType, type ControlEvent, type InboundEvent } from './history.ts';
import type { HubParts, HubStep } from './hub.ts';
import { isoMs, isTerminal } from './instances.ts';
import type { InstanceItem, MessageItem, RuntimeStatus } from './storage.ts';
import { noVersionRules } from './versions.ts';

const messagesPerEpisodeMax = 1_000;
const firstRetryMs = 20;
const retryMsMax = 30_000;
const httpSleepMsDefault = 30_000; // defaultAsyncRequestSleepTimeMilliseconds

interface Run {
  generation: Generation;
  taken: MessageItem[];
  events: InboundEvent[];
  status: RuntimeStatus;
  nowMs: number;
}

export class Episodes {
  readonly #parts: HubParts;
  readonly #concurrentMax: number;
  readonly #cache = new GenerationCache();
  readonly #ready = new Set<string>();
  readonly #running = new Set<string>();
  readonly #again = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #drainWaiters: (() => void)[] = [];
  #isTaking = false;

  constructor(parts: HubParts, concurrentMax: number) {
    this.#parts = parts;
    this.#concurrentMax = concurrentMax;
  }

  start(): void {
    this.#isTaking = true;
    this.#pump();
  }

  async drain(): Promise<void> {
    this.#isTaking = false;
    if (this.#running.size === 0) return;
    await new Promise<void>((resolve) => this.#drainWaiters.push(resolve));
  }

  get isBusy(): boolean {
    return this.#running.size > 0 || (this.#isTaking && this.#ready.size > 0);
  }

  /** The instance has messages. */
  wake(instanceId: string): void {
    if (this.#running.has(instanceId)) this.#again.add(instanceId);
    else this.#ready.add(instanceId);
    this.#pump();
  }

  #pump(): void {
    if (!this.#isTaking) return;
    for (const instanceId of this.#ready) {
      if (this.#running.size >= this.#concurrentMax) return;
      this.#ready.delete(instanceId);
      this.#running.add(instanceId);
      void this.#perform(instanceId);
    }
  }

  async #perform(instanceId: string): Promise<void> {
    let retryAfterMs: number | undefined;
    try {
      const mayHaveMore = await this.#episode(instanceId);
      if (mayHaveMore) this.#again.add(instanceId);
      this.#failures.delete(instanceId);
    } catch (error) {
      const count = this.#failures.get(instanceId) ?? 0;
      this.#failures.set(instanceId, count + 1);
      retryAfterMs = Math.min(firstRetryMs * 2 ** count, retryMsMax);
      this.#parts.log(
        'warning',
        `episode of ${instanceId}: ${textOf(error)}; again in ${retryAfterMs} ms`,
      );
    }
    this.#running.delete(instanceId);
    if (retryAfterMs !== undefined) {
      this.#again.delete(instanceId);
      this.#parts.clock.after(retryAfterMs, () => this.wake(instanceId));
    } else if (this.#again.delete(instanceId)) this.#ready.add(instanceId);
    if (this.#running.size === 0) for (const resolve of this.#drainWaiters.splice(0)) resolve();
    this.#pump();
    this.#parts.settled();
  }

  /** One episode; true when the inbox may hold more. */
  async #episode(instanceId: string): Promise<boolean> {
    // A re-used id has a new execution: what is cached of the old one is not it.
    const cached = this.#cache.take(instanceId);
    const item = this.#parts.storage.instance(instanceId);
    if (!item || isTerminal(item.status)) {
      await this.#discard(instanceId);
      return false;
    }
    const isCurrent = cached && cached.item.executionId === item.executionId;
    const generation = isCurrent ? cached : loadGeneration(this.#parts.storage, item);
    const isSuspended = item.status === 'Suspended';
    const found = this.#messagesFor(item, isSuspended);
    if (found.current.length === 0) {
      if (found.stale.length > 0) await this.#forget(instanceId, found.stale);
      this.#cache.put(generation);
      return found.isFull;
    }
    const batch = selectBatch(found.current, isSuspended);
    if (batch.taken.length === 0) {
      this.#cache.put(generation);
      return false;
    }
    const nowMs = Math.max(this.#parts.clock.now(), generation.lastEventAt);
    const status = batch.isSuspended ? 'Suspended' : 'Running';
    const taken = [...batch.taken, ...found.stale];
    await this.#runAndCommit({ generation, taken, events: batch.events, status, nowMs });
    return found.isFull;
  }

  #messagesFor(item: InstanceItem, isSuspended: boolean) {
    let messages = this.#parts.storage.messages(item.id, messagesPerEpisodeMax, isSuspended);
    if (isSuspended && messages.length > 0) {
      // What was held back while suspended comes with the resume, in order.
      const control = new Set(messages.map(({ sequence }) => sequence));
      const all = this.#parts.storage.messages(item.id, messagesPerEpisodeMax, false);
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

  async #runAndCommit(run: Run): Promise<void> {
    const { generation } = run;
    const { id: instanceId, name } = generation.item;
    await this.#parts.intercept({ kind: 'episode-start', instanceId, name });
    const outcome = await this.#outcomeOf(run);
    this.#warnWhenHeldOpen(generation, outcome);
    const detail = detailOf(outcome);
    await this.#parts.intercept({ kind: 'before-commit', instanceId, name, detail });
    const { taken: consumed, status, nowMs } = run;
    const { storage, settings } = this.#parts;
    const episode = { generation, consumed, outcome, status, nowMs, settings };
    const committed = await storage.commit(() => commitEpisode(storage, episode));
    this.#parts.usage.episodes++;
    this.#parts.usage.storageTransactions += committed.storageTransactions;
    settleRun(generation, outcome.run, settings.replayedEventsMax ?? replayedEventsDefault);
    if (!isTerminal(generation.item.status)) this.#cache.put(generation);
    this.#follow(generation, committed);
    await this.#afterCommit({ kind: 'after-commit', instanceId, name, detail });
  }

  /** The commit stands whatever happens here; recovery would go on from it, and so do we. */
  async #afterCommit(step: HubStep): Promise<void> {
    try {
      await this.#parts.intercept(step);
    } catch (error) {
      this.#parts.log('warning', `after the commit of ${step.instanceId}: ${textOf(error)}`);
    }
  }

  #follow(generation: Generation, committed: Committed): void {
    for (const instanceId of committed.wake) this.wake(instanceId);
    for (const entityId of committed.wakeEntities) this.#parts.wakeEntity(entityId);
    if (committed.hasWork) this.#parts.wakeActivities();
    if (committed.hasTimers) this.#parts.wakeTimers();
    if (committed.lostEvents.length > 0) {
      const names = committed.lostEvents.join(', ');
      this.#parts.log('warning', `${generation.item.id} ended; events lost: ${names}`);
    }
  }

  async #outcomeOf(run: Run): Promise<Outcome> {
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
      const history = (): string => historyText(this.#parts.storage, generation);
      const { httpSleepMs = httpSleepMsDefault, versions = noVersionRules } = this.#parts.settings;
      const input = { received: events, startedAt, history, httpSleepMs, versions };
      return runEpisode(this.#parts.runner, generation, input);
    }
    for (const event of events) enter(generation.ledger, event);
    const started = { EventType: eventType.orchestratorStarted, EventId: -1, Timestamp: startedAt };
    const { customStatus } = generation.item;
    const received = [started, ...events];
    const outcome: Outcome = { received, decisions: [], cancelled: [], customStatus };
    if (generation.run) {
      generation.unfed.push(...received);
      outcome.run = generation.run;
    }
    if (!terminated) return outcome;
    const reason = JSON.parse(terminated.Input ?? '""') as string;
    return { ...outcome, ending: { kind: 'terminated', reason } };
  }

  #warnWhenHeldOpen(generation: Generation, outcome: Outcome): void {
    if (!outcome.heldBack || generation.isHeldOpen) return;
    generation.isHeldOpen = true;
    const ids = outcome.heldBack.openIds.join(', ');
    this.#parts.log(
      'warning',
      `${generation.item.id} finished but is kept Running by open tasks ${ids}: ` +
        'cancel timers that lost a race before the orchestrator ends',
    );
  }

  async #discard(instanceId: string): Promise<void> {
    const lost = await this.#parts.storage.commit(() => {
      // The id may have been started again since we looked.
      const item = this.#parts.storage.instance(instanceId);
      return item && !isTerminal(item.status) ? [] : this.#parts.storage.dropMessages(instanceId);
    });
    if (lost.length > 0)
      this.#parts.log('debug', `${lost.length} messages to ${instanceId}: not running`);
  }

  async #forget(instanceId: string, stale: readonly MessageItem[]): Promise<void> {
    await this.#parts.storage.commit(() => {
      for (const message of stale) this.#parts.storage.dropMessage(instanceId, message);
    });
  }
}

function detailOf(outcome: Outcome): string {
  if (outcome.heldBack) return 'heldOpen';
  return outcome.ending?.kind ?? 'waiting';
}
