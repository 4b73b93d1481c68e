// H13: the last revision of every roll-up is whole and holds what every key published last; no
// message id ever has two contents.
import type { Output } from '../../../shared/convoy/state.ts';
import type { Published } from '../publisher-port.ts';
import type { Oracle, Scene } from './oracle.ts';

interface Contribution {
  key: string;
  revision: number;
  count: number;
  sum: number;
}

interface Closed extends Contribution {
  window: string;
  start: string;
}

interface PartBody extends Closed {
  keys: number;
  contributions: Contribution[];
}

export class RollUpOracle implements Oracle {
  readonly #scene: Scene;
  readonly #parts = new Map<string, Required<Pick<Published, 'part' | 'bodyText'>>>();
  /** By window, then key: the highest revision. */
  readonly #closed = new Map<string, Map<string, Closed>>();

  constructor(scene: Scene) {
    this.#scene = scene;
  }

  published({ messageId, part, output, bodyText }: Published): void {
    if (output?.type === 'window.closed') this.#closes(output);
    if (part === undefined) return;
    const before = this.#parts.get(messageId);
    if (before !== undefined && before.bodyText !== bodyText) {
      this.#say(`${messageId} has two contents`);
    }
    this.#parts.set(messageId, { part, bodyText });
  }

  #closes({ bodyText }: Output): void {
    const closed = JSON.parse(bodyText) as Closed;
    const isRolledUp = this.#scene.plot.windows.some(
      ({ name, rollUp }) => name === closed.window && rollUp !== undefined,
    );
    if (!isRolledUp) return;
    const id = `${closed.window}@${closed.start}`;
    const keys = this.#closed.get(id) ?? new Map<string, Closed>();
    this.#closed.set(id, keys);
    if (closed.revision >= (keys.get(closed.key)?.revision ?? 0)) keys.set(closed.key, closed);
  }

  atEnd(): void {
    for (const [id, keys] of this.#closed) this.#check(id, keys);
  }

  #check(id: string, keys: ReadonlyMap<string, Closed>): void {
    const parts = [...this.#parts.values()].filter(({ bodyText }) => {
      const { window, start } = JSON.parse(bodyText) as PartBody;
      return `${window}@${start}` === id;
    });
    const highest = Math.max(-1, ...parts.map(({ part }) => part.revision));
    const last = parts.filter(({ part }) => part.revision === highest);
    if (last.length === 0 || last.length !== last[0]?.part.parts) {
      return this.#say(`${id}: revision ${highest} is not whole: ${last.length} parts`);
    }
    const bodies = last.map(({ bodyText }) => JSON.parse(bodyText) as PartBody);
    const listed = bodies.flatMap(({ contributions }) => contributions);
    for (const { key, revision, count, sum } of keys.values()) {
      const found = listed.filter((one) => one.key === key);
      const [one] = found;
      const isRight = one?.revision === revision && one.count === count && one.sum === sum;
      if (found.length !== 1 || !isRight) {
        this.#say(`${id}: revision ${highest} lacks ${key} as of its revision ${revision}`);
      }
    }
    const sum = listed.reduce((total, one) => total + one.sum, 0);
    for (const body of bodies) {
      if (body.keys === keys.size && listed.length === keys.size && body.sum === sum) continue;
      this.#say(`${id}: the totals of revision ${highest} are not the sums`);
    }
  }

  #say(message: string): void {
    this.#scene.report({ oracle: 'roll-up', rule: 'H13', message });
  }
}
