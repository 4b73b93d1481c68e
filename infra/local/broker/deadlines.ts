// PURE. Things that fall due at an instant, earliest first. Entries that no longer matter stay in
// the heap until they surface or until they are the majority; `isLive` tells them apart.

/** A binary heap of deadlines with lazy deletion. */
export class Deadlines<T> {
  private heap: { at: number; item: T }[] = [];
  private readonly isLive: (item: T, at: number) => boolean;
  private compactAt = 1024;

  constructor(isLive: (item: T, at: number) => boolean) {
    this.isLive = isLive;
  }

  add(at: number, item: T): void {
    this.heap.push({ at, item });
    this.siftUp(this.heap.length - 1);
    if (this.heap.length > this.compactAt) this.compact();
  }

  /** The earliest live deadline. */
  earliest(): number | undefined {
    this.dropDead();
    return this.heap[0]?.at;
  }

  /** Removes and returns one live item that is due, or undefined. */
  takeDue(now: number): T | undefined {
    this.dropDead();
    const first = this.heap[0];
    if (!first || first.at > now) return undefined;
    this.removeFirst();
    return first.item;
  }

  private dropDead(): void {
    for (let first = this.heap[0]; first; first = this.heap[0]) {
      if (this.isLive(first.item, first.at)) return;
      this.removeFirst();
    }
  }

  /** Keeps memory proportional to what is live: a settled message must not stay until its TTL. */
  private compact(): void {
    const live = this.heap.filter((entry) => this.isLive(entry.item, entry.at));
    this.heap = live.sort((a, b) => a.at - b.at);
    this.compactAt = Math.max(1024, live.length * 2);
  }

  private removeFirst(): void {
    const last = this.heap.pop();
    if (last === undefined || this.heap.length === 0) return;
    this.heap[0] = last;
    this.siftDown(0);
  }

  private siftUp(start: number): void {
    let index = start;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (this.at(parent) <= this.at(index)) return;
      this.swap(index, parent);
      index = parent;
    }
  }

  private siftDown(start: number): void {
    let index = start;
    for (;;) {
      const left = 2 * index + 1;
      let least = index;
      if (this.at(left) < this.at(least)) least = left;
      if (this.at(left + 1) < this.at(least)) least = left + 1;
      if (least === index) return;
      this.swap(index, least);
      index = least;
    }
  }

  private at(index: number): number {
    return this.heap[index]?.at ?? Infinity;
  }

  private swap(a: number, b: number): void {
    const [first, second] = [this.heap[a], this.heap[b]];
    if (first && second) [this.heap[a], this.heap[b]] = [second, first];
  }
}
