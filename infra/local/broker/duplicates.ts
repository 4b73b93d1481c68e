// PURE. The window within which a message id counts as seen already [SB 12.5]. The ids themselves
// lie in the store: a busy queue sees millions within its window.
import type { EntityPort } from './entity-port.ts';

export interface DuplicateOptions {
  windowMs: number;
  /** What precedes the ids of the queue's messages in the store. */
  firstId: number;
  port: Pick<EntityPort, 'record' | 'seenUntil'>;
}

export class DuplicateWindow {
  windowMs: number;
  private readonly firstId: number;
  private readonly port: DuplicateOptions['port'];
  private forgetAt = 0;

  constructor(options: DuplicateOptions) {
    this.windowMs = options.windowMs;
    this.firstId = options.firstId;
    this.port = options.port;
  }

  has(messageId: string, now: number): boolean {
    return (this.port.seenUntil(messageId) ?? 0) > now;
  }

  /** By message id alone; the window runs from the first sight. What is over is forgotten ten times
   *  per window. */
  remember({ id, messageId }: { id: number; messageId: string }, now: number): void {
    this.port.record({ kind: 'seen', id, messageId, expiresAt: now + this.windowMs });
    if (now < this.forgetAt) return;
    this.forgetAt = now + this.windowMs / 10;
    this.port.record({ kind: 'forget', firstId: this.firstId, until: now });
  }
}
