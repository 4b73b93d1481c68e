// PURE. Messages that fall due at an instant, earliest first. What no longer matters stays in the
// heap until it surfaces or until it is the majority; `isLive` tells it apart.
import type { Lane } from './lane.ts';

/** A message by the lane it waits in and its number. */
export interface Due {
  lane: Lane;
  sequence: number;
}

/** A binary heap with lazy deletion, in three plain arrays: 24 bytes per message. */
export class Deadlines {
  private instants: number[] = [];
  private sequences: number[] = [];
  private lanes: Lane[] = [];
  private readonly isLive: (lane: Lane, sequence: number) => boolean;
  private compactAt = 1024;

  constructor(isLive: (lane: Lane, sequence: number) => boolean) {
    this.isLive = isLive;
  }

  add(at: number, { lane, sequence }: Due): void {
    this.instants.push(at);
    this.sequences.push(sequence);
    this.lanes.push(lane);
    this.siftUp(this.instants.length - 1);
    if (this.instants.length > this.compactAt) this.compact();
  }

  /** The earliest live deadline. */
  earliest(): number | undefined {
    this.dropDead();
    return this.instants[0];
  }

  /** Removes and returns one live message that is due, or undefined. */
  takeDue(now: number): Due | undefined {
    this.dropDead();
    const [at] = this.instants;
    const [lane] = this.lanes;
    const [sequence] = this.sequences;
    if (at === undefined || lane === undefined || sequence === undefined) return undefined;
    if (at > now) return undefined;
    this.removeFirst();
    return { lane, sequence };
  }

  private dropDead(): void {
    while (this.instants.length > 0 && !this.isLiveAt(0)) this.removeFirst();
  }

  private isLiveAt(index: number): boolean {
    const lane = this.lanes[index];
    return lane !== undefined && this.isLive(lane, this.sequences[index] ?? 0);
  }

  /** Keeps memory proportional to what is live: a settled message must not stay until its TTL. */
  private compact(): void {
    const live = [...this.instants.keys()]
      .filter((index) => this.isLiveAt(index))
      .sort((a, b) => this.at(a) - this.at(b));
    this.instants = live.map((index) => this.at(index));
    this.sequences = live.map((index) => this.sequences[index] ?? 0);
    this.lanes = live.flatMap((index) => this.lanes[index] ?? []);
    this.compactAt = Math.max(1024, live.length * 2);
  }

  private removeFirst(): void {
    this.swap(0, this.instants.length - 1);
    this.instants.pop();
    this.sequences.pop();
    this.lanes.pop();
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
    return this.instants[index] ?? Infinity;
  }

  private swap(a: number, b: number): void {
    exchange(this.instants, a, b);
    exchange(this.sequences, a, b);
    exchange(this.lanes, a, b);
  }
}

function exchange<T>(items: T[], a: number, b: number): void {
  const [first, second] = [items[a], items[b]];
  if (first !== undefined && second !== undefined) [items[a], items[b]] = [second, first];
}
