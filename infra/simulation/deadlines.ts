// Timers by instant, then by age: a binary heap. A cancelled timer, or one whose owner has died,
// stays in it until it surfaces.
import type { Owner } from './scheduler.ts';

interface Timer {
  at: number;
  order: number;
  owner: Owner;
  callback: (() => void) | undefined;
}

const isBefore = (a: Timer, b: Timer): boolean =>
  a.at < b.at || (a.at === b.at && a.order < b.order);

export class Deadlines {
  readonly #heap: Timer[] = [];
  #order = 0;

  add(at: number, owner: Owner, callback: () => void): { cancel(): void } {
    const timer: Timer = { at, order: this.#order++, owner, callback };
    this.#siftUp(timer);
    return { cancel: () => void (timer.callback = undefined) };
  }

  /** The instant of the first timer that may still fire. */
  earliest(): number | undefined {
    for (let first = this.#heap[0]; first; first = this.#heap[0]) {
      if (first.callback !== undefined && first.owner.isAlive) return first.at;
      this.#removeFirst();
    }
    return undefined;
  }

  takeFirst(): (() => void) | undefined {
    const callback = this.#heap[0]?.callback;
    this.#removeFirst();
    return callback;
  }

  #siftUp(timer: Timer): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(timer);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isBefore(timer, above)) break;
      heap[index] = above;
      index = parent;
    }
    heap[index] = timer;
  }

  #removeFirst(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let index = 0;
    for (;;) {
      const left = heap[2 * index + 1];
      const right = heap[2 * index + 2];
      if (left === undefined) break;
      const isRight = right !== undefined && isBefore(right, left);
      const least = isRight ? right : left;
      if (!isBefore(least, last)) break;
      heap[index] = least;
      index = 2 * index + (isRight ? 2 : 1);
    }
    heap[index] = last;
  }
}
