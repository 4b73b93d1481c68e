// A test knob: makes the way from a client to the hub as bad as Azure Storage may be
// [reference/durable.md 12.1]: what was answered 202 is lost, doubled or overtaken.
//
// Leaves:  messages between orchestrations and entities alone: Azure keeps those in order, once.
//
// Delayed messages wait in memory only: a crash loses them, as a queue that lost them would.
import { textOf } from './fault.ts';
import type { HubParts } from './parts.ts';

/** Delivers now, twice, late or never; true when it was now. Rejects when delivering now fails. */
export async function deliver(parts: HubParts, once: () => Promise<void>): Promise<boolean> {
  const { times, delayMs } = parts.dice.roll();
  for (let k = 0; k < times; k++) {
    if (delayMs === 0) {
      await once();
      continue;
    }
    parts.clock.after(delayMs, () => {
      once().catch((error: unknown) => parts.log('warning', `delayed delivery: ${textOf(error)}`));
    });
  }
  return times > 0 && delayMs === 0;
}
