// PURE. The messages of the last moments in memory, so that one that is delivered soon after it was
// sent is not read back from the file.
import type { Entry } from './lane.ts';
import type { Content } from './message.ts';

export interface CachedMessage {
  entry: Entry;
  content: Content;
}

/** What an entry costs beside its bytes, roughly. */
const entryBytes = 600;

export class MessageCache {
  private readonly messages = new Map<number, CachedMessage>();
  private readonly bytesMax: number;
  private bytes = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  get(id: number): CachedMessage | undefined {
    return this.messages.get(id);
  }

  /** Keeps a message; the oldest ones make room. */
  put(id: number, message: CachedMessage): void {
    this.delete(id);
    this.messages.set(id, message);
    this.bytes += costOf(message);
    for (const oldest of this.messages.keys()) {
      if (this.bytes <= this.bytesMax) return;
      this.delete(oldest);
    }
  }

  delete(id: number): void {
    const message = this.messages.get(id);
    if (!message) return;
    this.messages.delete(id);
    this.bytes -= costOf(message);
  }
}

const costOf = ({ content }: CachedMessage): number =>
  entryBytes + content.annotations.length + content.bare.length;

/** Bytes of their own: a view into what came from a socket, or a piece of Node's pool, would keep
 *  64 KB alive for a message of 300 bytes, and the bound of the cache would mean nothing. */
export function compact(bytes: Buffer): Buffer {
  if (bytes.buffer.byteLength <= 2 * bytes.length) return bytes;
  const own = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(own);
  return own;
}
