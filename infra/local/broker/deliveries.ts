// Which lanes have something to deliver, worked off once per turn of the event loop, so that a
// message costs the same with ten sessions as with ten thousand [SB 19.8].
//
// Invariant:
//   N3. A turn delivers a bounded number of messages, so that a burst cannot keep drains and
//       renewals of others waiting: the client closes a link whose drain takes 200 ms [SB 6.2].
import type { AmqpError } from './conditions.ts';
import type { Entity } from './entity.ts';
import type { Holder, Lane } from './lane.ts';

/** Messages delivered per turn of the event loop [N3]: some 10 ms of work. */
export const turnMessagesMax = 256;

/** A receiving link, as those who have something for it see it. */
export interface Receiver {
  readonly entity: Entity;
  /** Delivers what there is and is wanted; returns how many. */
  pump(limit: number): number;
  /** Plans a delivery. */
  wake(): void;
  loseSession(): void;
  /** Ends the link with this error. */
  expel(error: AmqpError): void;
}

/** A topic hands its messages on instead of delivering them; undefined for every other entity. */
type Release = (entity: Entity, lane: Lane) => number | undefined;

export class Deliveries {
  private readonly release: Release;
  /** Receivers of entities without sessions. */
  private readonly consumers = new Map<Entity, Set<Receiver>>();
  private awake = new Map<Lane, Entity>();
  private isPlanned = false;
  private isClosed = false;

  constructor(release: Release) {
    this.release = release;
  }

  add(consumer: Receiver): void {
    const consumers = this.consumers.get(consumer.entity);
    if (consumers) consumers.add(consumer);
    else this.consumers.set(consumer.entity, new Set([consumer]));
  }

  remove(consumer: Receiver): void {
    const consumers = this.consumers.get(consumer.entity);
    consumers?.delete(consumer);
    if (consumers?.size === 0) this.consumers.delete(consumer.entity);
  }

  /** Plans the delivery of what a lane has. */
  wake(lane: Lane, entity: Entity): void {
    this.awake.set(lane, entity);
    if (this.isPlanned) return;
    this.isPlanned = true;
    setImmediate(() => this.pumpAwake());
  }

  close(): void {
    this.isClosed = true;
  }

  /** [N3] */
  private pumpAwake(): void {
    this.isPlanned = false;
    if (this.isClosed) return;
    const lanes = this.awake;
    this.awake = new Map();
    let budget = turnMessagesMax;
    for (const [lane, entity] of lanes) {
      if (budget > 0) budget -= this.release(entity, lane) ?? this.pump(lane, entity, budget);
      if (budget <= 0) this.wake(lane, entity);
    }
  }

  private pump(lane: Lane, entity: Entity, budget: number): number {
    if (!entity.properties.requiresSession) return this.pumpLine(entity, budget);
    return receiverOf(lane.holder)?.pump(budget) ?? 0;
  }

  /** Competing receivers: one message each, in turn, as long as anybody takes one. */
  private pumpLine(entity: Entity, budget: number): number {
    const consumers = this.consumers.get(entity) ?? new Set<Receiver>();
    const [only] = consumers;
    if (only && consumers.size === 1) return only.pump(budget);
    let delivered = 0;
    for (let before = -1; before < delivered && delivered < budget;) {
      before = delivered;
      for (const consumer of consumers) delivered += consumer.pump(1);
    }
    return delivered;
  }
}

/** The holder of a session is always a receiver of ours: nobody else calls accept. */
export function receiverOf(holder: Holder | undefined): Receiver | undefined {
  return holder as Receiver | undefined;
}
