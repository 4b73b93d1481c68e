// PURE. What falls due among waiting messages: activations [SB 12.1] and expiries [SB 12.3].
import { Deadlines } from './deadlines.ts';
import type { Due } from './deadlines.ts';
import { SequenceList } from './sequence-list.ts';

export class Schedule {
  private readonly activations = new Deadlines((lane, at) => lane.scheduled?.has(at) === true);
  private readonly expiries = new Deadlines((lane, at) => lane.ready.has(at));

  /** Puts a message away until its instant. */
  activateAt(at: number, due: Due): void {
    (due.lane.scheduled ??= new SequenceList()).insert(due.sequence);
    this.activations.add(at, due);
  }

  /** A ready message expires at this instant; Infinity is never. */
  expireAt(at: number, due: Due): void {
    if (Number.isFinite(at)) this.expiries.add(at, due);
  }

  /** Takes one message whose instant has come; it still stands in its lane. */
  takeDue(now: number): Due | undefined {
    return this.activations.takeDue(now) ?? this.expiries.takeDue(now);
  }

  /** The next instant, or Infinity. */
  earliest(): number {
    const [activation, expiry] = [this.activations.earliest(), this.expiries.earliest()];
    return Math.min(activation ?? Infinity, expiry ?? Infinity);
  }
}
