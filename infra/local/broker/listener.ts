// The AMQP 1.0 side: the only file that drives rhea (its types and repairs stand in rhea-seam.ts).
//
// Owns:    connections, SASL, attach rules, sends, replies of $cbs and $management.
// Leaves:  receiving links to link.ts, requests to requests.ts, decisions to the entities.
//
// Invariants:
//   A1. No link before a valid token (or PLAIN with the key) on its connection; $cbs excepted.
//   A2. A transfer is answered after the commit of its messages, all or none of them.
//   A3. Whatever ends – link, AMQP session, connection, socket – the session locks it held are
//   free.
//   A4. Topics, transactions, send-via and every other thing we lack is refused by name.
import type { AddressInfo, Server } from 'node:net';
import { errorOf, refusals } from './conditions.ts';
import type { AmqpError } from './conditions.ts';
import type { Entity } from './entity.ts';
import type { Holder } from './lane.ts';
import { Consumer } from './link.ts';
import { messageBytesMax } from './namespace.ts';
import type { Namespace, Place } from './namespace.ts';
import type { BrokerStep } from './step.ts';
import { outcomeOf, refuseLink, SenderPort, sessionFilter } from './port.ts';
import { mechanisms } from './sasl.ts';
import { Replies } from './replies.ts';
import { parseRequest } from './request.ts';
import type { Request } from './request.ts';
import { answerOperation, answerToken } from './requests.ts';
import * as seam from './rhea-seam.ts';
import { frameBytesMax, Sockets } from './sockets.ts';
import type { RheaConnection, RheaDelivery, RheaEvent, RheaLink } from './rhea-seam.ts';
import type { RheaSender, RheaSession } from './rhea-seam.ts';

export interface ListenerOptions {
  namespace: Namespace;
  port: number;
  sharedAccessKey: string;
}

export interface Listener {
  port: number;
  /** Returns how many there were. */
  dropConnections(): number;
  /** Closes the links of an entity with an error; returns how many. */
  detachLinks(entity: Entity, error: AmqpError): number;
  close(): Promise<void>;
}

/** A receiving link with its two halves. */
interface Receiving {
  consumer: Consumer;
  port: SenderPort;
}

class Connections {
  readonly namespace: Namespace;
  readonly sockets: Sockets;
  private readonly sharedAccessKey: string;
  private readonly authorized = new WeakSet<RheaConnection>();
  /** Nodes that clients send to; absent: $cbs. */
  private readonly targets = new WeakMap<RheaLink, Place>();
  private readonly receiving = new WeakMap<RheaLink, Receiving>();
  private readonly links = new WeakMap<RheaConnection, Set<RheaLink>>();
  private readonly open = new Set<RheaConnection>();
  private readonly replies = new Replies();
  /** With a test hook the sends of one link wait for each other, so that they keep their order. */
  private readonly tails = new WeakMap<RheaLink, Promise<void>>();

  constructor(options: ListenerOptions) {
    this.namespace = options.namespace;
    this.sockets = new Sockets(options.namespace.clock);
    this.sharedAccessKey = options.sharedAccessKey;
  }

  private isAuthorized(connection: RheaConnection): boolean {
    const bySasl = connection.sasl_transport?.selected?.mechanism?.isAuthorized === true;
    return bySasl || this.authorized.has(connection);
  }

  private authorize(link: RheaLink, address: unknown): void {
    if (this.isAuthorized(link.connection)) return;
    throw refusals.unauthorized(`A valid token is required for '${String(address)}'.`);
  }

  /** The client sends: to a queue, to $management or to $cbs. */
  openTarget(link: RheaLink): void {
    const { target } = link;
    const address = target?.address;
    link.set_source({ address: link.source?.address });
    link.set_target({ address });
    if (isTokenNode(address)) return;
    try {
      this.authorize(link, address);
      // rhea reads no coordinator [SB 13.3]: what stands in its place has no fields.
      if (!Array.isArray(target?.value)) {
        throw refusals.notSupported('transactions (coordinator links)');
      }
      if (link.properties?.['com.microsoft:transfer-destination-address'] !== undefined) {
        throw refusals.notSupported('sending via another entity');
      }
      const place = this.namespace.find(address, hostOf(link));
      if (!place.isManagement) this.namespace.checkUse(place, 'send');
      this.targets.set(link, place);
      link.local.attach['max_message_size'] = messageBytesMax;
    } catch (error) {
      refuseLink(link, errorOf(error));
    }
  }

  /** The client receives: from a queue, a session, or the replies of a request node. */
  openSource(sender: RheaSender): void {
    const address = sender.source?.address;
    sender.set_source({ address });
    sender.set_target({ address: sender.target?.address });
    seam.repairSender(sender);
    try {
      if (!isTokenNode(address)) this.authorize(sender, address);
      const place = isTokenNode(address) ? undefined : this.namespace.find(address, hostOf(sender));
      if (!place || place.isManagement) {
        // Settled replies: no disposition of the client, no stall by its Nagle [SB 3.14].
        sender.local.attach['snd_settle_mode'] = 1;
        return;
      }
      this.namespace.checkUse(place, 'receive');
      this.openConsumer(sender, place.entity);
    } catch (error) {
      refuseLink(sender, errorOf(error));
    }
  }

  private openConsumer(sender: RheaSender, entity: Entity): void {
    const filter = sender.source?.filter;
    const wantsSession = filter !== undefined && filter !== null && sessionFilter in filter;
    if (entity.properties.requiresSession && !wantsSession) throw refusals.sessionsRequired();
    if (!entity.properties.requiresSession && wantsSession) {
      throw refusals.sessionsNotSupported(entity.path);
    }
    const deletesOnReceive = sender.snd_settle_mode === 1;
    sender.local.attach['snd_settle_mode'] = deletesOnReceive ? 1 : 0;
    if (!deletesOnReceive) sender.local.attach['rcv_settle_mode'] = 1;
    sender.local.attach['max_message_size'] = messageBytesMax;
    const port = new SenderPort(sender);
    const { namespace } = this;
    const consumer = new Consumer({ namespace, entity, port, deletesOnReceive });
    this.receiving.set(sender, { consumer, port });
    this.linksOf(sender.connection).add(sender);
    if (!wantsSession) {
      consumer.receiveFromLine();
      return;
    }
    seam.holdAttach(sender);
    const sessionId = filter[sessionFilter];
    if (typeof sessionId === 'string') consumer.acceptNamed(sessionId);
    else {
      const timeout = Number(sender.properties?.['com.microsoft:timeout'] ?? Number.NaN);
      consumer.acceptNext(Number.isFinite(timeout) ? timeout : undefined);
    }
  }

  /** Our own list: rhea forgets a link whose attach we still hold before it says `disconnected`. */
  private linksOf(connection: RheaConnection): Set<RheaLink> {
    let links = this.links.get(connection);
    if (!links) this.links.set(connection, (links = new Set<RheaLink>()));
    return links;
  }

  /** A message of the client: a request, or something to enqueue. */
  receive(link: RheaLink, delivery: RheaDelivery, bytes: Buffer): void {
    const target = this.targetOf(link);
    if (!target || target.isManagement) {
      this.answer(link, delivery, bytes);
      return;
    }
    const { entity } = target;
    const refuse = (error: AmqpError): void => seam.settleIncoming(delivery, error);
    try {
      if (bytes.length > messageBytesMax) {
        throw refusals.messageTooLarge(bytes.length, messageBytesMax);
      }
      const messages = this.namespace.parse(bytes, seam.formatOf(delivery));
      const step: BrokerStep = { kind: 'send', queue: entity.path };
      const [first] = messages;
      if (first) step.messageId = first.messageId;
      if (typeof first?.sessionId === 'string') step.sessionId = first.sessionId;
      this.inOrder(link, step, refuse, () => {
        this.namespace.send(target, messages, (error) => seam.settleIncoming(delivery, error));
      });
    } catch (error) {
      refuse(errorOf(error));
    }
  }

  private targetOf(link: RheaLink): Place | undefined {
    const target = this.targets.get(link);
    return target && this.namespace.refresh(target);
  }

  private inOrder(
    link: RheaLink,
    step: BrokerStep,
    ...[refuse, make]: [(error: AmqpError) => void, () => void]
  ): void {
    if (!this.namespace.isWatched) {
      make();
      return;
    }
    const turn = (this.tails.get(link) ?? Promise.resolve())
      .then(() => this.namespace.ask(step))
      .then(make)
      .catch((error: unknown) => refuse(errorOf(error)));
    this.tails.set(link, turn);
  }

  /** A request over $cbs or $management [SB 2, 11]. */
  private answer(link: RheaLink, delivery: RheaDelivery, bytes: Buffer): void {
    let request: Request;
    try {
      request = parseRequest(bytes);
    } catch (error) {
      seam.settleIncoming(delivery, errorOf(error));
      return;
    }
    seam.settleIncoming(delivery, undefined);
    const target = this.targetOf(link);
    const send = (reply: Buffer): void => this.replies.send(link, request.replyTo, reply);
    if (!target) {
      const answer = answerToken(request, this.sharedAccessKey, this.namespace.clock.now());
      if (answer.isAuthorized) this.authorized.add(link.connection);
      send(answer.bytes);
      return;
    }
    const name = request.properties.get('associated-link-name');
    const links = [...this.linksOf(link.connection)];
    const consumer = (other: RheaLink | undefined) => other && this.receiving.get(other)?.consumer;
    const associated = consumer(links.find((other) => other.name === name));
    const isOurs = (holder: Holder | undefined): boolean =>
      holder !== undefined && links.some((other) => consumer(other) === holder);
    const { namespace } = this;
    const { entity } = target;
    answerOperation(request, { entity, place: target, namespace, associated, isOurs }, send);
  }

  flow(sender: RheaSender): void {
    this.receiving.get(sender)?.consumer.wake();
    this.replies.flush(sender);
  }

  drain(sender: RheaSender): void {
    const receiving = this.receiving.get(sender);
    if (receiving) receiving.consumer.drain();
    else {
      sender.set_drained(true);
      seam.touch(sender.session);
    }
  }

  settle(delivery: RheaDelivery, outcomeName: string): void {
    const receiving = this.receiving.get(delivery.link);
    const locked = receiving?.port.locks.get(delivery);
    if (!receiving || !locked) return;
    receiving.port.locks.delete(delivery);
    let outcome;
    try {
      outcome = outcomeOf(outcomeName, delivery.remote_state);
    } catch (error) {
      seam.settleOutgoing(delivery, errorOf(error));
      return;
    }
    receiving.consumer.settle(locked, outcome, (error) => {
      seam.settleOutgoing(delivery, error);
      this.namespace.wake(locked.lane, receiving.consumer.entity);
    });
  }

  /** [A3] */
  leave(link: RheaLink): void {
    const receiving = this.receiving.get(link);
    if (!receiving) return;
    receiving.consumer.leave();
    this.linksOf(link.connection).delete(link);
  }

  leaveSession(session: RheaSession): void {
    for (const link of this.linksOf(session.connection)) {
      if (link.session === session) this.leave(link);
    }
  }

  enter(connection: RheaConnection): void {
    seam.repairConnection(connection);
    this.sockets.opened(connection);
    this.open.add(connection);
  }

  leaveConnection(connection: RheaConnection): void {
    this.open.delete(connection);
    for (const link of this.linksOf(connection)) this.leave(link);
  }

  /** Closes the links of an entity, those of its $management node excepted. */
  detachLinks(entity: Entity, error: AmqpError): number {
    let count = 0;
    const detach = (link: RheaLink): void => {
      const target = this.targets.get(link);
      const consumer = this.receiving.get(link)?.consumer;
      const isTarget = target?.entity === entity && !target.isManagement && link.is_receiver();
      if (!isTarget && consumer?.entity !== entity) return;
      count++;
      if (consumer) consumer.expel(error);
      else link.close(error);
      seam.touch(link.session);
    };
    for (const connection of this.open) connection.each_link(detach);
    return count;
  }
}

/** The name by which the client knows the namespace. */
const hostOf = ({ connection }: RheaLink): string =>
  String(connection.remote.open?.hostname ?? 'localhost');

const isTokenNode = (address: unknown): boolean => String(address).toLowerCase() === '$cbs';

function createContainer(connections: Connections, key: string): seam.RheaContainer {
  const container = seam.rhea.create_container({ id: 'local-servicebus' });
  container.sasl_server_mechanisms = mechanisms(key);
  const on = (name: string, listener: (event: RheaEvent) => void) => container.on(name, listener);
  on('connection_open', ({ connection }) => connections.enter(connection));
  on('session_open', ({ session }) => seam.repairSession(session));
  on('receiver_open', ({ receiver }) => connections.openTarget(receiver));
  on('sender_open', ({ sender }) => connections.openSource(sender));
  on('message', ({ receiver, delivery, message }) =>
    connections.receive(receiver, delivery, message),
  );
  on('sender_flow', ({ sender }) => connections.flow(sender));
  on('sender_draining', ({ sender }) => connections.drain(sender));
  for (const name of ['accepted', 'released', 'modified', 'rejected']) {
    on(name, ({ delivery }) => connections.settle(delivery, name));
  }
  on('sender_close', ({ sender }) => connections.leave(sender));
  on('session_close', ({ session }) => connections.leaveSession(session));
  on('connection_close', ({ connection }) => connections.leaveConnection(connection));
  on('disconnected', ({ connection }) => connections.leaveConnection(connection));
  // A peer that breaks the protocol loses its connection; without listeners it would end the
  // process.
  for (const name of ['connection_error', 'session_error', 'sender_error', 'receiver_error']) {
    on(name, () => {});
  }
  for (const name of ['error', 'protocol_error']) {
    on(name, (fault) => process.stderr.write(`broker: ${name}: ${errorOf(fault).description}\n`));
  }
  return container;
}

/** Listens on 127.0.0.1 and, where that port is free, on ::1. A busy port rejects. */
export async function listen(options: ListenerOptions): Promise<Listener> {
  const connections = new Connections(options);
  const container = createContainer(connections, options.sharedAccessKey);
  const open = (host: string, port: number): Promise<Server> =>
    new Promise((resolve, reject) => {
      const server = container.listen({ host, port, ...connectionOptions });
      server.on('connection', (socket) => connections.sockets.add(socket));
      server.once('error', reject);
      server.once('listening', () => resolve(server));
    });
  const first = await open('127.0.0.1', options.port);
  const { port } = first.address() as AddressInfo;
  const second = await open('::1', port).catch(() => undefined);
  return {
    port,
    dropConnections: () => connections.sockets.drop(),
    detachLinks: (entity, error) => connections.detachLinks(entity, error),
    async close() {
      const closing = [first, second].map(
        (server) => new Promise<void>((done) => (server ? server.close(() => done()) : done())),
      );
      connections.sockets.drop();
      await Promise.all(closing);
    },
  };
}

/** [SB 1.9, 19.10] SASL is not required: a client whose connection string holds a signature instead
 *  of a key begins without it, and the service lets it. Nothing is proved by it anyway, see A1. */
const connectionOptions = {
  max_frame_size: frameBytesMax,
  channel_max: 4_999,
  idle_time_out: 120_000,
  session_buffer_size: 8_192,
  sender_options: { treat_modified_as_released: false, autosettle: false },
  receiver_options: { credit_window: 1_000, autoaccept: false, autosettle: false },
};
