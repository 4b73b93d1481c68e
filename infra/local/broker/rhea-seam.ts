// The part of rhea 3.0.5 that we touch, with our own types, and the repairs it needs as a server.
// Instances are patched, never the shared module: in one process the client uses the same rhea.
//
// Repairs:
//   P1. A message stays bytes: its format is replaced by a sentinel before rhea would decode it [SB
//   19.9].
//   P2. A drain is answered also when the last credit has just been used [SB 19.2].
//   P3. Dispositions are written by us: rhea merges the first two outcomes of a tick [SB 8.5,
//   19.5].
//   P4. Only AMQP sessions with something to do are visited, not all of a connection [SB 19.8].
//   P5. A read that caused no output is answered by an empty frame, whose segment carries the TCP
//       acknowledgement that the client's Nagle waits for [SB 19.6].
//   P6. Frames of one turn leave in one write [SB 19.7].
//   P7. A socket that we cut ourselves counts as disconnected: rhea hears `end` and `error` only.
//   P8. A detach or end for an AMQP session that has ended is dropped, as the service's own library
//       does (Microsoft.Azure.Amqp, AmqpConnection: "the session close may have timed out"). Busy
//       clients send them; rhea would end the connection, and everybody's work on it.
//   P9. A name belongs to a link and its direction [AMQP 2.6.1]: a peer may give its sender and its
//       receiver the same one (Qpid does), and give it again before we are through with the old
//       link. rhea knows names only, and would end the connection.
import { createRequire } from 'node:module';
import type { Server, Socket } from 'node:net';
import type { AmqpError } from './conditions.ts';

export interface RheaTerminus {
  /** The fields of a source or target; of another kind of terminus there are none. */
  value?: unknown;
  address?: unknown;
  filter?: Record<string, unknown> | null;
}

export interface RheaDelivery {
  id: number;
  format: number;
  link: RheaLink;
  settled: boolean;
  remote_settled: boolean;
  remote_state?: RheaOutcome;
}

export interface RheaOutcome {
  undeliverable_here?: boolean;
  message_annotations?: Record<string, unknown>;
  error?: { condition?: unknown; description?: unknown; info?: Record<string, unknown> };
}

export interface RheaLink {
  name: string;
  session: RheaSession;
  connection: RheaConnection;
  credit: number;
  delivery_count: number;
  source?: RheaTerminus | null;
  target?: RheaTerminus | null;
  snd_settle_mode?: number;
  rcv_settle_mode?: number;
  properties?: Record<string, unknown> | null;
  state: { local_open: boolean; open_requests: number };
  local: { handle: number; attach: Record<string, unknown> };
  is_open(): boolean;
  is_sender(): boolean;
  is_receiver(): boolean;
  open(): void;
  close(error?: AmqpError): void;
  set_source(fields: Record<string, unknown>): void;
  set_target(fields: Record<string, unknown>): void;
}

export interface RheaSender extends RheaLink {
  _draining: boolean;
  _drained: boolean;
  _get_drain(): boolean;
  set_drained(isDrained: boolean): void;
  send(bytes: Buffer, tag: Buffer | undefined, format: number): RheaDelivery;
}

type FrameHandler = (frame: { performative: Record<string, unknown> }) => void;

export interface RheaSession {
  connection: RheaConnection;
  links: Record<string, RheaLink>;
  local: { channel: number; handles: Record<number, RheaLink> };
  remote: { handles: Record<number, RheaLink> };
  remove_link(link: RheaLink): void;
  outgoing: {
    next_delivery_id: number;
    next_pending_delivery: number;
    available(): number;
  };
  is_open(): boolean;
  output(frame: unknown): void;
  _process(): void;
  on_transfer: FrameHandler;
  on_flow: FrameHandler;
  on_disposition: FrameHandler;
  on_attach: FrameHandler;
  on_detach: FrameHandler;
  on_end: FrameHandler;
}

interface ChannelFrame {
  channel: number;
}

export interface RheaConnection {
  socket: Socket;
  transport: { peek_size(bytes: Buffer): number | undefined };
  remote: { open?: { hostname?: unknown } };
  remote_channel_map: Record<number, unknown>;
  on_detach(frame: ChannelFrame): void;
  on_end(frame: ChannelFrame): void;
  registered: boolean;
  state: { need_open(): boolean; need_close(): boolean; has_settled(): boolean };
  /** rhea's choice between SASL and none; `selected` is the SASL server where the peer has one. */
  sasl_transport?: { selected?: { mechanism?: { isAuthorized?: boolean } } };
  is_open(): boolean;
  close(error?: AmqpError): void;
  each_link(action: (link: RheaLink) => void): void;
  _register(): void;
  _process(): void;
  _write_open(): void;
  _write_close(): void;
  _write_frame(channel: number): void;
  _disconnected(): void;
}

export interface RheaEvent {
  connection: RheaConnection;
  session: RheaSession;
  sender: RheaSender;
  receiver: RheaLink;
  delivery: RheaDelivery;
  message: Buffer;
  error?: unknown;
}

/** What a SASL mechanism must offer to rhea's server side. */
export interface SaslMechanism {
  outcome?: boolean;
  username?: string;
  isAuthorized?: boolean;
  start(response?: Buffer): void;
}

export interface RheaContainer {
  sasl_server_mechanisms: Record<string, () => SaslMechanism>;
  on(event: string, listener: (event: RheaEvent) => void): void;
  listen(options: Record<string, unknown>): Server;
}

interface Rhea {
  create_container(options: { id: string }): RheaContainer;
  types: { wrap_long(bytes: Buffer): unknown };
  message: Record<'accepted' | 'rejected', (fields?: unknown) => { described(): unknown }>;
}

const require = createRequire(import.meta.url);
/** The one cast of the untyped library. */
export const rhea = require('rhea') as Rhea;
const frames = require('rhea/lib/frames.js') as { disposition(fields: unknown): unknown };

/** [P1] No real message format: rhea hands over the bytes. 0 and absent both mean "one message". */
const rawFormat = 0x7ffffff0;

/** The format the peer sent. */
export const formatOf = (delivery: RheaDelivery): number =>
  delivery.format === rawFormat ? 0 : delivery.format;

interface Disposition {
  isReceiver: boolean;
  id: number;
  error: AmqpError | undefined;
}

const dirtySessions = new WeakMap<RheaConnection, Set<RheaSession>>();
const dispositions = new WeakMap<RheaSession, Disposition[]>();

/** Marks that a session has something to write [P4]. */
export function touch(session: RheaSession): void {
  dirtySessions.get(session.connection)?.add(session);
  session.connection._register();
}

/** [P4, P5, P6, P7, P8] */
export function repairConnection(connection: RheaConnection): void {
  const dirty = new Set<RheaSession>();
  dirtySessions.set(connection, dirty);
  const { socket } = connection;
  socket.setNoDelay(true);
  connection._process = () => {
    connection.registered = false;
    socket.cork();
    do {
      if (connection.state.need_open()) connection._write_open();
      const sessions = [...dirty];
      dirty.clear();
      for (const session of sessions) session._process();
      if (connection.state.need_close()) connection._write_close();
    } while (!connection.state.has_settled());
    socket.uncork();
  };
  socket.once('close', () => {
    connection._disconnected();
    // What was still to be written has armed the timers of a dead connection anew.
    setImmediate(() => connection._disconnected());
  });
  nudge(connection, socket);
  for (const name of ['on_detach', 'on_end'] as const) {
    const original = connection[name];
    connection[name] = function (frame) {
      if (this.remote_channel_map[frame.channel]) original.call(this, frame);
    };
  }
}

function nudge(connection: RheaConnection, socket: Socket): void {
  let isPlanned = false;
  socket.on('data', () => {
    if (isPlanned) return;
    isPlanned = true;
    // Counted from this read on: what was written before it acknowledges nothing of it.
    const written = socket.bytesWritten;
    setImmediate(() => {
      isPlanned = false;
      if (socket.bytesWritten !== written || socket.destroyed) return;
      if (connection.is_open()) connection._write_frame(0);
    });
  });
}

/** [P1, P3, P4, P9] */
export function repairSession(session: RheaSession): void {
  touch(session);
  repairNames(session);
  const onTransfer = session.on_transfer;
  session.on_transfer = function (frame) {
    if (!frame.performative['message_format']) frame.performative['message_format'] = rawFormat;
    touch(session);
    onTransfer.call(this, frame);
  };
  for (const name of ['on_flow', 'on_disposition', 'on_attach', 'on_detach', 'on_end'] as const) {
    const original = session[name];
    session[name] = function (frame) {
      original.call(this, frame);
      touch(session);
      // A detach or end is answered by rhea one tick later; visit the session once more then.
      if (name === 'on_detach' || name === 'on_end') process.nextTick(() => touch(session));
    };
  }
  const process_ = session._process;
  session._process = function () {
    writeDispositions(session);
    process_.call(this);
  };
}

/** [P9] Links are kept under numbers, so that no attach finds one by its name. */
function repairNames(session: RheaSession): void {
  const places = new WeakMap<RheaLink, { key: string; handle: number }>();
  let attached = 0;
  const onAttach = session.on_attach;
  session.on_attach = function (frame) {
    onAttach.call(this, frame);
    const name = String(frame.performative['name']);
    const link = this.links[name];
    if (!link) return;
    const place = { key: `${name}\0${++attached}`, handle: Number(frame.performative['handle']) };
    delete this.links[name];
    this.links[place.key] = link;
    places.set(link, place);
  };
  session.remove_link = function (link) {
    const { key, handle } = places.get(link) ?? { key: link.name, handle: Number.NaN };
    delete this.links[key];
    delete this.local.handles[link.local.handle];
    // The peer may have given the handle to another link by now.
    if (this.remote.handles[handle] === link) delete this.remote.handles[handle];
  };
}

/** [P2] */
export function repairSender(sender: RheaSender): void {
  sender._get_drain = function () {
    if (!this._draining || !this._drained) return false;
    this.delivery_count += this.credit;
    this.credit = 0;
    this._draining = false;
    return true;
  };
}

/** Undoes rhea's automatic answer to an attach, which is only planned at this point [SB 19.1]. */
export function holdAttach(link: RheaLink): void {
  link.state.local_open = false;
  link.state.open_requests = 0;
}

/** Accepts or refuses a message the peer sent. */
export function settleIncoming(delivery: RheaDelivery, error: AmqpError | undefined): void {
  delivery.settled = true;
  planDisposition(delivery, { isReceiver: true, id: delivery.id, error });
}

/** Answers the peer's settlement of a message we sent. Success is always `accepted` [SB 8.1]. */
export function settleOutgoing(delivery: RheaDelivery, error: AmqpError | undefined): void {
  delivery.settled = true;
  // The peer never settles again, and rhea's buffer would keep the delivery for good [SB 19.3].
  delivery.remote_settled = true;
  planDisposition(delivery, { isReceiver: false, id: delivery.id, error });
}

function planDisposition(delivery: RheaDelivery, disposition: Disposition): void {
  const { session } = delivery.link;
  const planned = dispositions.get(session);
  if (planned) planned.push(disposition);
  else dispositions.set(session, [disposition]);
  touch(session);
}

/** [P3] Runs of accepted with neighbouring ids go out as one frame, errors one by one. */
function writeDispositions(session: RheaSession): void {
  const planned = dispositions.get(session);
  if (!planned) return;
  dispositions.delete(session);
  if (!session.is_open()) return;
  for (let at = 0; at < planned.length;) {
    const first = planned[at];
    if (!first) return;
    let end = at + 1;
    for (let last = first; !first.error; end++) {
      const next = planned[end];
      if (!next || next.error || next.isReceiver !== first.isReceiver) break;
      if (next.id !== last.id + 1) break;
      last = next;
    }
    const state = first.error
      ? rhea.message.rejected({ error: first.error })
      : rhea.message.accepted();
    const last = planned[end - 1]?.id ?? first.id;
    const fields = { role: first.isReceiver, first: first.id, last, settled: true };
    session.output(frames.disposition({ ...fields, state: state.described() }));
    at = end;
  }
}
