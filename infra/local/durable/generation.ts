// One generation (execution) of an instance in memory, and the bounded cache of generations.
//
// Why a cache: the worker gets the whole history in every episode [reference/durable.md 9]; the
// text is built once and grown, not read again from the file. An entry is taken out while its
// episode runs and put back only after the commit, so memory never runs ahead of the file.
import { emptyLedger, enter, type HistoryEvent, type Ledger } from './history.ts';
import type { HubStorage, InstanceItem } from './storage.ts';

export interface Generation {
  item: InstanceItem;
  /** Rendered events, comma-separated, all marked as played. */
  played: string;
  chunks: number;
  ledger: Ledger;
  /** Timers cancelled in earlier episodes; their ids stay used. */
  cancelled: Set<number>;
  lastEventAt: number;
  /** The orchestrator has ended but open tasks keep it Running; warned once. */
  isHeldOpen: boolean;
}

const chunkPattern = (played: string): string => `[${played}]`;

export function parsePlayed(played: string): HistoryEvent[] {
  return JSON.parse(chunkPattern(played)) as HistoryEvent[];
}

export function loadGeneration(storage: HubStorage, item: InstanceItem): Generation {
  const chunks = storage.chunks(item.id);
  const played = chunks.join(',');
  const ledger = emptyLedger();
  let lastEventAt = 0;
  for (const event of parsePlayed(played)) {
    enter(ledger, event);
    lastEventAt = Math.max(lastEventAt, Date.parse(event.Timestamp));
  }
  const cancelled = new Set<number>();
  return {
    item,
    played,
    chunks: chunks.length,
    ledger,
    cancelled,
    lastEventAt,
    isHeldOpen: false,
  };
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
      this.#characters -= generation.played.length;
    }
    return generation;
  }

  put(generation: Generation): void {
    this.take(generation.item.id);
    this.#held.set(generation.item.id, generation);
    this.#characters += generation.played.length;
    for (const oldest of this.#held.keys()) {
      if (this.#held.size <= cachedCountMax && this.#characters <= cachedCharactersMax) break;
      this.take(oldest);
    }
  }
}
