// What a test may do to the clients of the broker at once, where faults.ts waits for their steps.
import type { Listener } from './listener.ts';
import type { Namespace } from './namespace.ts';

export interface Deeds {
  /** Cuts every connection, as a network failure would; returns how many. */
  dropConnections(): number;
  /** Expires the lock now, as if time had passed; false when nobody holds the session. */
  loseSessionLock(queue: string, sessionId: string): boolean;
  /** Expires the locks of the messages that receivers without session hold; returns how many. */
  loseMessageLocks(queue: string): number;
  /** Closes the links of senders and receivers with an error (default:
   *  com.microsoft:server-busy); returns how many. */
  detachLinks(queue: string, condition?: string): number;
}

export function deedsOf(namespace: Namespace, listener: Listener): Deeds {
  const entityOf = (queue: string) => namespace.entities.get(queue.toLowerCase());
  const now = (): number => namespace.clock.now();
  return {
    dropConnections: () => listener.dropConnections(),
    loseSessionLock(queue, sessionId) {
      const entity = entityOf(queue);
      const lane = entity?.sessions.find(sessionId);
      if (!entity || !lane?.holder) return false;
      entity.expireSession(lane, now());
      return true;
    },
    loseMessageLocks(queue) {
      const entity = entityOf(queue);
      if (!entity || entity.properties.requiresSession) return 0;
      const locks = [...entity.locks.values()];
      for (const locked of locks) entity.abandon(locked, now());
      return locks.length;
    },
    detachLinks(queue, condition = 'com.microsoft:server-busy') {
      const entity = entityOf(queue);
      if (!entity) return 0;
      return listener.detachLinks(entity, { condition, description: 'Detached by a test.' });
    },
  };
}
