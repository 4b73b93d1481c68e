// Where the time of a drain goes: into the handler, the store or the output queue. Measured by the
// clock around every call; what it has measured is written with the next commit (convoy/busy.ts).
import type { Clock } from '../clock.ts';
import { type Spent, noneSpent } from '../convoy/busy.ts';
import type { Engine } from './ports.ts';

export class Meter {
  readonly #clock: Clock;
  #spent: Spent = noneSpent;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** What was spent since the last call. */
  take(): Spent {
    const spent = this.#spent;
    this.#spent = noneSpent;
    return spent;
  }

  async timed<Result>(
    on: Exclude<keyof Spent, 'requestUnits'>,
    work: () => Result | Promise<Result>,
  ): Promise<Result> {
    const startedAt = this.#clock.now();
    try {
      return await work();
    } finally {
      const ms = this.#clock.now() - startedAt;
      this.#spent = { ...this.#spent, [on]: this.#spent[on] + ms };
    }
  }

  charge(requestUnits: number): void {
    this.#spent = { ...this.#spent, requestUnits: this.#spent.requestUnits + requestUnits };
  }
}

/** The engine of one drain, whose calls are measured. */
export function metered(engine: Engine, meter: Meter): Engine {
  const { store, publisher } = engine;
  const stored = <Result>(work: () => Promise<Result>) => meter.timed('storeMs', work);
  return {
    ...engine,
    store: {
      ...store,
      readGate: (id) => stored(() => store.readGate(id)),
      readProgress: (id) => stored(() => store.readProgress(id)),
      readInbox: (id, range) => stored(() => store.readInbox(id, range)),
      readInboxAt: (id, positions) => stored(() => store.readInboxAt(id, positions)),
      readOutbox: (id) => stored(() => store.readOutbox(id)),
      async batch(id, operations) {
        const result = await stored(() => store.batch(id, operations));
        if (result.applied) meter.charge(result.requestUnits ?? 0);
        return result;
      },
    },
    publisher: {
      publish: (convoy, key, outputs) =>
        meter.timed('publishMs', () => publisher.publish(convoy, key, outputs)),
    },
  };
}
