// Deletes what has expired. Readers never see it anyway: this is for the space only.

import type { Clock, Timer } from '../../../shared/clock.ts';
import { purgeExpired } from './items.ts';
import type { Storage } from './storage.ts';

const everyMs = 5000;
/** In one write, a few milliseconds; as long as there is more, others get in between. */
const itemsPerWrite = 200;

/** Sweeps now and then until it is cancelled. */
export function startSweep(storage: Storage, clock: Clock): Timer {
  let timer: Timer;
  let isEnded = false;
  const purge = (): boolean => {
    let isMore = false;
    for (const container of storage.openContainers()) {
      const purged = purgeExpired({ storage, container, nowMs: clock.now() }, itemsPerWrite);
      isMore ||= purged === itemsPerWrite;
    }
    return isMore;
  };
  const sweep = async (): Promise<void> => {
    // What failed once (a full disk) is tried again the next time.
    while (!isEnded && (await storage.write(purge).catch(() => false)));
  };
  const arm = (): void => {
    timer = clock.after(everyMs, () => {
      void sweep();
      arm();
    });
  };
  arm();
  return {
    cancel() {
      isEnded = true;
      timer.cancel();
    },
  };
}
