// The session listeners of a host: accept the next session, hand its messages to intake one at a
// time, settle each, give the session back when it has been silent; renew its lock meanwhile.
import { takeIn } from '../../shared/engine/intake.ts';
import { hostParsed, type Received } from '../../shared/envelope.ts';
import type { Entry, Lane, Locked } from '../local/broker/lane.ts';
import type { Waiter } from '../local/broker/session.ts';
import type { CallFault } from './faults.ts';
import type { Host, SessionHolder } from './host.ts';
import type { SentMessage } from './messages.ts';
import type { World } from './world.ts';

const settleFaults: readonly CallFault[] = ['broker.settleLost', 'broker.settleAmbiguous'];
const renewFaults: readonly CallFault[] = ['broker.renewFails'];

/** Serves sessions one after the other until the host dies. */
export async function listen(world: World, host: Host): Promise<void> {
  for (;;) {
    const holder: SessionHolder = { host, isLost: false, woken: undefined };
    const lane = await accepted(world, holder);
    await serve(world, holder, lane);
  }
}

function accepted(world: World, holder: SessionHolder): Promise<Lane> {
  const { scheduler, input } = world;
  const { host } = holder;
  return new Promise((resolve) => {
    const granted = (lane: Lane): void => {
      host.waiters.delete(waiter);
      host.sessions.set(holder, lane);
      world.oracles.accepted(lane, holder);
      scheduler.park({ owner: host, label: 'broker.accepted', go: () => resolve(lane) });
    };
    const waiter: Waiter = { holder, granted, isGone: false };
    const go = (): void => {
      host.waiters.add(waiter);
      input.entity.sessions.acceptNext(waiter, scheduler.now);
    };
    scheduler.park({ owner: host, label: 'broker.accept', go });
  });
}

async function serve(world: World, holder: SessionHolder, lane: Lane): Promise<void> {
  const { host } = holder;
  renewLater(world, holder, lane);
  for (;;) {
    const locked = await received(world, holder, lane);
    if (locked === undefined) break;
    const isDone = await invoke(world, host, locked.entry);
    if (!(await settled(world, { holder, locked, isDone }))) break;
  }
  await world.scheduler.turn(host, 'broker.release', () => {
    host.sessions.delete(holder);
    if (!holder.isLost) world.oracles.lost(lane, holder);
    world.input.entity.releaseSession(lane, holder, world.scheduler.now);
  });
}

/** The next message of the session, or undefined when it was silent too long or is lost. */
function received(world: World, holder: SessionHolder, lane: Lane): Promise<Locked | undefined> {
  const { scheduler, input, scenario } = world;
  const { host } = holder;
  return new Promise((resolve) => {
    const go = (): void => {
      if (holder.isLost) return resolve(undefined);
      const entry = input.entity.head(lane, scheduler.now);
      if (entry) return resolve(input.entity.lock(lane, entry, scheduler.now));
      const idle = scheduler.after(host, scenario.sessionIdleMs, () => {
        holder.woken = undefined;
        resolve(undefined);
      });
      holder.woken = () => {
        holder.woken = undefined;
        idle.cancel();
        scheduler.park({ owner: host, label: 'broker.receive', go });
      };
    };
    scheduler.park({ owner: host, label: 'broker.receive', go });
  });
}

/** The edge of the app (functions/intake.ts): false when it threw. */
async function invoke(world: World, host: Host, entry: Entry): Promise<boolean> {
  const sent = world.input.payloadOf(entry);
  if (sent === undefined) return true;
  world.oracles.delivered(sent, entry);
  const { convoy } = world;
  const open = (): Promise<Host['engine']> => Promise.resolve(host.engine);
  try {
    const received = receivedOf(sent, entry);
    await takeIn({ convoy, queue: convoy, received, clock: host.engine.clock, open });
    return true;
  } catch {
    return false;
  }
}

/** What the Functions host hands over. */
export function receivedOf({ message, key }: SentMessage, entry: Entry): Received {
  const { id, type, text, schemaVersion, senderPosition, occurredAt } = message;
  const applicationProperties = {
    ...(key !== '' && { convoyKey: key }),
    convoyMessageId: id,
    convoyType: type,
    ...(schemaVersion !== undefined && { schemaVersion }),
    ...(senderPosition !== undefined && { senderPosition }),
    ...(occurredAt !== undefined && { occurredAt: new Date(occurredAt).toISOString() }),
  };
  const metadata = {
    messageId: hostParsed(entry.messageId),
    sessionId: hostParsed(entry.sessionId ?? ''),
    enqueuedTime: new Date(entry.enqueuedAt).toISOString(),
    sequenceNumber: entry.enqueuedSequence,
    applicationProperties,
  };
  return { body: Buffer.from(text, 'utf8'), metadata };
}

/** False when the session is not this holder's any more. */
function settled(
  world: World,
  entry: { holder: SessionHolder; locked: Locked; isDone: boolean },
): Promise<boolean> {
  const { holder, locked, isDone } = entry;
  const { scheduler, faults, input } = world;
  return scheduler.turn(holder.host, 'broker.settle', () => {
    const fault = isDone ? faults.at(settleFaults) : undefined;
    // Not applied: the message stays locked until the session ends, then it comes again.
    if (fault?.kind === 'broker.settleLost') return true;
    if (!input.entity.locks.has(locked.token)) {
      world.coverage.count('broker:settledTooLate');
      return false; // the broker refuses: the lock was lost [E3]
    }
    world.oracles.settled(locked, holder);
    if (isDone) input.entity.complete(locked);
    else input.entity.abandon(locked, scheduler.now);
    return fault === undefined || fault.value < 0.5;
  });
}

function renewLater(world: World, holder: SessionHolder, lane: Lane): void {
  const { scheduler, faults, input } = world;
  const { host } = holder;
  scheduler.after(host, world.lockMs / 2, () => {
    const go = (): void => {
      if (holder.isLost || !host.sessions.has(holder)) return;
      if (faults.at(renewFaults)) return; // from now on the clock runs against it
      if (!input.entity.sessions.isHeldBy(lane, holder)) return;
      input.entity.sessions.renew(lane, scheduler.now);
      renewLater(world, holder, lane);
    };
    scheduler.park({ owner: host, label: 'broker.renew', go });
  });
}
