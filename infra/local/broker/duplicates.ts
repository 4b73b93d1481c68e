// PURE. Message ids seen within the window of a queue with duplicate detection.

export class DuplicateWindow {
  private readonly seen = new Map<string, number>();
  windowMs: number;
  private forgetAt = 0;

  constructor(windowMs: number) {
    this.windowMs = windowMs;
  }

  has(messageId: string, now: number): boolean {
    return (this.seen.get(messageId) ?? 0) > now;
  }

  /** Returns when the id is forgotten again. */
  add(messageId: string, now: number): number {
    const expiresAt = now + this.windowMs;
    // Delete first: the map stays in order of expiry, which `forget` relies on.
    this.seen.delete(messageId);
    this.seen.set(messageId, expiresAt);
    return expiresAt;
  }

  restore(messageId: string, expiresAt: number): void {
    this.seen.set(messageId, expiresAt);
  }

  /** Drops what is over, at most ten times per window: a Map is slow at its front, not in bulk. */
  forget(now: number): boolean {
    if (now < this.forgetAt) return false;
    this.forgetAt = now + this.windowMs / 10;
    for (const [messageId, expiresAt] of this.seen) {
      if (expiresAt > now) break;
      this.seen.delete(messageId);
    }
    return true;
  }
}
