// One episode of an instance: which messages it takes, what comes of it, who is woken by it.
//
// Owns:    the order of an episode: load, run, commit, follow; the cache of generations.
// Leaves:  when an instance runs to serial.ts, what an episode does to execute.ts, what it writes
//          to commit.ts.
import { commitEpisode, selectBatch, type Committed } from './commit.ts';
import { runEpisode, type Outcome } from './execute.ts';
import { textOf } from './fault.ts';
import { GenerationCache, historyText, loadGeneration, settleRun } from './generation.ts';
import { replayedEventsDefault, type Generation } from './generation.ts';
import { enter, eventType, type ControlEvent, type InboundEvent } from './history.ts';
import type { HubParts, HubStep } from './parts.ts';
import { isoMs, isTerminal } from './instances.ts';
import { SerialWork } from './serial.ts';
import type { InstanceItem, MessageItem, RuntimeStatus } from './storage.ts';
import { noVersionRules } from './versions.ts';

const messagesPerEpisodeMax = 1_000;
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
  readonly #cache = new GenerationCache();
  readonly #work: SerialWork;

  constructor(parts: HubParts, concurrentMax: number) {
    this.#parts = parts;
    const perform = (instanceId: string): Promise<boolean> => this.#episode(instanceId);
    this.#work = new SerialWork({ parts, concurrentMax, what: 'episode', perform });
  }

  start(): void {
    this.#work.start();
  }

  drain(): Promise<void> {
    return this.#work.drain();
  }

  get isBusy(): boolean {
    return this.#work.isBusy;
  }

  /** The instance has messages. */
  wake(instanceId: string): void {
    this.#work.wake(instanceId);
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
    const committed = await storage.commit(() => {
      // AnyState: a start may have put another execution in the place of this one.
      const isReplaced =
        settings.mayReplaceRunning &&
        storage.instance(instanceId)?.executionId !== generation.item.executionId;
      return isReplaced ? undefined : commitEpisode(storage, episode);
    });
    if (!committed) return;
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
