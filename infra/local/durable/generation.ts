// One generation (execution) of an instance in memory, and the bounded cache of generations.
//
// A short history is replayed in each episode, as on Azure, so that code that cannot be replayed
// shows it. A long one would make each episode dearer than the one before; so from
// `replayedEventsMax` events on the run is kept and fed, and replayed again only each time the
// history has doubled. The price of an episode then does not grow with age.
//
// Invariants:
//   G1. An entry is taken out of the cache while its episode runs and put back only after the
//       commit, so memory never runs ahead of the file; what is not there is read and replayed.
//   G2. The cache is bounded by count and by size of the histories.
import { concernsExecutor, isLive, type SdkRun } from './sdk.ts';
import { forgetSettled } from './actions.ts';
import { emptyLedger, enter, type HistoryEvent, type Ledger } from './history.ts';
import type { HubStorage, InstanceItem } from './storage.ts';

export interface Generation {
  item: InstanceItem;
  ledger: Ledger;
  chunks: number;
  eventCount: number;
  /** Size of the whole history as text. */
  characters: number;
  lastEventAt: number;
  /** Rendered events, comma-separated, all marked as played; absent while a run is kept. */
  played: string | undefined;
  run: SdkRun | undefined;
  /** Committed events that the kept run has not been fed yet. */
  unfed: HistoryEvent[];
  /** So many events are replayed before a run is kept again. */
  replayAt: number;
  /** The orchestrator has ended but open tasks keep it Running; warned once. */
  isHeldOpen: boolean;
}

export const replayedEventsDefault = 64;

export function parsePlayed(played: string): HistoryEvent[] {
  return JSON.parse(`[${played}]`) as HistoryEvent[];
}

export function newGeneration(item: InstanceItem): Generation {
  return {
    item,
    ledger: emptyLedger(),
    chunks: 0,
    eventCount: 0,
    characters: 0,
    lastEventAt: 0,
    played: '',
    run: undefined,
    unfed: [],
    replayAt: 0,
    isHeldOpen: false,
  };
}

export function loadGeneration(storage: HubStorage, item: InstanceItem): Generation {
  const chunks = storage.chunks(item.id);
  const played = chunks.join(',');
  const generation = { ...newGeneration(item), played, chunks: chunks.length };
  generation.characters = played.length;
  for (const event of parsePlayed(played)) {
    enter(generation.ledger, event);
    generation.eventCount++;
    generation.lastEventAt = Math.max(generation.lastEventAt, Date.parse(event.Timestamp));
  }
  return generation;
}

/** The history as text, for a replay. */
export function historyText(storage: HubStorage, generation: Generation): string {
  generation.played ??= storage.chunks(generation.item.id).join(',');
  return generation.played;
}

/** Enters a committed chunk. */
export function grow(generation: Generation, events: readonly HistoryEvent[], chunk: string): void {
  generation.chunks++;
  generation.eventCount += events.length;
  generation.characters += chunk.length + 1;
  if (generation.played !== undefined) {
    generation.played = generation.played === '' ? chunk : `${generation.played},${chunk}`;
  }
  generation.unfed.push(...events.filter(concernsExecutor));
}

/** Keeps the run for the next episode, or lets it go so that the next one replays. */
export function settleRun(
  generation: Generation,
  run: SdkRun | undefined,
  eventsMax: number,
): void {
  const isFresh = generation.run === undefined;
  generation.run = undefined;
  const mayStay = run !== undefined && isLive(run) && generation.eventCount >= eventsMax;
  if (mayStay) {
    if (isFresh) generation.replayAt = 2 * generation.eventCount;
    if (generation.eventCount < generation.replayAt) {
      generation.run = run;
      generation.played = undefined;
      forgetSettled(run, generation.ledger);
      return;
    }
  }
  generation.unfed = [];
}

const cachedCharactersMax = 16_000_000;
const cachedCountMax = 2_000;

export class GenerationCache {
  readonly #held = new Map<string, Generation>();
  #characters = 0;

  /** Removes and returns what is cached for the instance. */
  take(instanceId: string): Generation | undefined {
    const generation = this.#held.get(instanceId);
    if (generation) {
      this.#held.delete(instanceId);
      this.#characters -= generation.characters;
    }
    return generation;
  }

  put(generation: Generation): void {
    this.take(generation.item.id);
    this.#held.set(generation.item.id, generation);
    this.#characters += generation.characters;
    for (const oldest of this.#held.keys()) {
      if (this.#held.size <= cachedCountMax && this.#characters <= cachedCharactersMax) break;
      this.take(oldest);
    }
  }
}
