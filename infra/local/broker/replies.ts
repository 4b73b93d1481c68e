// Answers of the $cbs and $management nodes on their way out.
import { errorOf, refusals } from './conditions.ts';
import { touch } from './rhea-seam.ts';
import type { RheaLink, RheaSender } from './rhea-seam.ts';

/** Answers that wait for credit of the reply link; more than this is a peer that never reads. */
const repliesMax = 1_000;

export class Replies {
  private readonly waiting = new WeakMap<RheaLink, Buffer[]>();

  /** [SB 2.3] By target address, else by link name, else the only sender of the AMQP session. */
  send(link: RheaLink, replyTo: string | null, bytes: Buffer): void {
    const node = String(link.target?.address ?? '');
    const senders = Object.values(link.session.links).filter(
      (other) => other.is_sender() && String(other.source?.address ?? '') === node,
    );
    const out =
      senders.find((other) => other.target?.address === replyTo || other.name === replyTo) ??
      senders[0];
    if (!out) return;
    const waiting = this.waiting.get(out) ?? [];
    if (waiting.length >= repliesMax) {
      out.close(errorOf(refusals.badRequest('Too many unread replies.')));
      touch(out.session);
      return;
    }
    waiting.push(bytes);
    this.waiting.set(out, waiting);
    this.flush(out as RheaSender);
  }

  /** Never without credit: rhea would block the whole AMQP session [SB 19.4]. */
  flush(out: RheaSender): void {
    const waiting = this.waiting.get(out);
    if (!waiting || !out.is_open()) return;
    const { outgoing } = out.session;
    let room = out.credit - (outgoing.next_delivery_id - outgoing.next_pending_delivery);
    for (; room > 0 && waiting.length > 0; room--) {
      const bytes = waiting.shift();
      if (bytes) out.send(bytes, undefined, 0);
    }
    touch(out.session);
  }
}
