// PURE. Messages that wait for their instant, by the number they were given [SB 12.1].
import { Deadlines } from './deadlines.ts';
import type { Entry } from './lane.ts';

export class Schedule {
  private readonly entries = new Map<number, Entry>();
  private readonly deadlines = new Deadlines<Entry>((entry, at) => entry.scheduledAt === at);

  add(entry: Entry, at: number): void {
    this.entries.set(entry.sequence, entry);
    this.deadlines.add(at, entry);
  }

  find(sequence: number): Entry | undefined {
    return this.entries.get(sequence);
  }

  /** False when it was not there (any more). */
  remove(entry: Entry): boolean {
    entry.scheduledAt = null;
    return this.entries.delete(entry.sequence);
  }

  /** Takes out one message whose instant has come. */
  takeDue(now: number): Entry | undefined {
    const entry = this.deadlines.takeDue(now);
    if (entry) this.remove(entry);
    return entry;
  }

  ofSession(sessionId: string | null): Entry[] {
    return [...this.entries.values()].filter((entry) => entry.sessionId === sessionId);
  }

  earliest(): number | undefined {
    return this.deadlines.earliest();
  }
}
