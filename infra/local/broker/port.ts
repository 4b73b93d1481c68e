// The wire side of one receiving link: what link.ts asks for, said in rhea's words.
import type { AmqpError } from './conditions.ts';
import type { Locked } from './lane.ts';
import type { LinkPort, Outcome } from './link.ts';
import type { Property } from './message.ts';
import { encodeAny } from './wire.ts';
import { rhea, touch } from './rhea-seam.ts';
import type { RheaDelivery, RheaLink, RheaOutcome, RheaSender } from './rhea-seam.ts';

export const sessionFilter = 'com.microsoft:session-filter';
/** .NET ticks (100 ns since the year 1) at the Unix epoch [SB 4.3]. */
const ticksAtEpoch = 621_355_968_000_000_000n;

function ticksOf(ms: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt(ms) * 10_000n + ticksAtEpoch);
  return bytes;
}

/** Answers an attach with nothing and an error [SB 3.8]. */
export function refuseLink(link: RheaLink, error: AmqpError): void {
  link.local.attach[link.is_sender() ? 'source' : 'target'] = null;
  link.open();
  link.close(error);
  touch(link.session);
}

export class SenderPort implements LinkPort {
  /** Which delivery carries which lock, until it is settled. */
  readonly locks = new Map<RheaDelivery, Locked>();
  private readonly sender: RheaSender;
  /** Our deliveries that rhea has not written yet: its credit does not count them. */
  private unwritten: number[] = [];

  constructor(sender: RheaSender) {
    this.sender = sender;
  }

  get isOpen(): boolean {
    return this.sender.is_open();
  }

  room(): number {
    const { outgoing } = this.sender.session;
    const written = outgoing.next_pending_delivery;
    if (this.unwritten.length > 0) this.unwritten = this.unwritten.filter((id) => id >= written);
    return Math.min(this.sender.credit - this.unwritten.length, outgoing.available());
  }

  transfer(bytes: Buffer, tag: Buffer, locked: Locked | undefined): void {
    const delivery = this.sender.send(bytes, tag, 0);
    this.unwritten.push(delivery.id);
    if (locked) this.locks.set(delivery, locked);
    else delivery.settled = true;
    touch(this.sender.session);
  }

  grant(sessionId: string, lockedUntil: number): void {
    const address = this.sender.source?.address;
    this.sender.set_source({ address, filter: { [sessionFilter]: sessionId } });
    this.sender.local.attach['properties'] = {
      'com.microsoft:locked-until-utc': rhea.types.wrap_long(ticksOf(lockedUntil)),
    };
    this.sender.open();
    touch(this.sender.session);
  }

  refuse(error: AmqpError): void {
    refuseLink(this.sender, error);
  }

  detach(error: AmqpError): void {
    if (!this.sender.is_open()) return;
    this.sender.close(error);
    touch(this.sender.session);
  }

  drained(): void {
    this.sender.set_drained(true);
    touch(this.sender.session);
  }
}

/** The words of AMQP for the settlements [SB 8]. */
export function outcomeOf(name: string, state: RheaOutcome | undefined): Outcome {
  switch (name) {
    case 'accepted':
      return { kind: 'complete' };
    case 'rejected':
      return { kind: 'deadLetter', properties: propertiesOf(state?.error?.info) };
    case 'modified': {
      const properties = propertiesOf(state?.message_annotations);
      return { kind: state?.undeliverable_here ? 'defer' : 'abandon', properties };
    }
    default:
      return { kind: 'release' };
  }
}

function propertiesOf(map: Record<string, unknown> | null | undefined): Property[] {
  return Object.entries(map ?? {})
    .filter(([, value]) => value !== undefined && value !== null)
    .map(([name, value]) => ({ name, value: encodeAny(value) }));
}
