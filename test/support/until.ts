// Waiting for a fact of the outside world; the time limit of the test is the limit.
import { setTimeout as pause } from 'node:timers/promises';

/** Looks again and again until what it sees holds. */
export async function until<Seen>(
  look: () => Promise<Seen> | Seen,
  holds: (seen: Seen) => boolean,
): Promise<Seen> {
  for (;;) {
    const seen = await look();
    if (holds(seen)) return seen;
    await pause(20);
  }
}
