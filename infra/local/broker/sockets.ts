// The sockets below the AMQP connections, and what a peer may do before and beside the protocol.
//
// Invariants:
//   K1. A peer that does not open its connection within a minute, or sends more than that takes, is
//       cut: nothing else would ever end it.
//   K2. A frame beyond the negotiated size ends the connection when it is announced, not when it
//       has been gathered in memory [AMQP 2.4.1].
import type { Socket } from 'node:net';
import type { Clock, Timer } from '../../../shared/clock.ts';

const handshakeMs = 60_000;
/** SASL and Open take some hundred bytes. */
const handshakeBytesMax = 65_536;

/** The negotiated frame size [SB 1.9]. */
export const frameBytesMax = 65_536;

/** The part of a connection that says how long the next frame will be. */
interface Framed {
  socket: Socket;
  transport: { peek_size(bytes: Buffer): number | undefined };
}

export class Sockets {
  private readonly clock: Clock;
  /** With what waits for the handshake. */
  private readonly open = new Map<Socket, Timer>();

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** [K1] */
  add(socket: Socket): void {
    let bytes = 0;
    const count = (chunk: Buffer): void => {
      bytes += chunk.length;
      if (bytes > handshakeBytesMax) socket.destroy();
    };
    const timer = this.clock.after(handshakeMs, () => socket.destroy());
    this.open.set(socket, timer);
    socket.on('data', count);
    socket.once('opened', () => socket.off('data', count));
    socket.once('close', () => {
      // Before it opens a connection hears of the end of its socket by `end` only.
      if (!socket.readableEnded) socket.emit('end');
      timer.cancel();
      this.open.delete(socket);
    });
  }

  /** The peer has opened its connection [K2]. */
  opened({ socket, transport }: Framed): void {
    this.open.get(socket)?.cancel();
    socket.emit('opened');
    const peek = transport.peek_size.bind(transport);
    transport.peek_size = (bytes) => {
      const size = peek(bytes);
      if (size !== undefined && size > frameBytesMax) {
        process.stderr.write(`broker: a frame of ${size} bytes, ${frameBytesMax} are allowed\n`);
        socket.destroy();
        return undefined;
      }
      return size;
    };
  }

  /** Cuts all; returns how many there were. */
  drop(): number {
    const { size } = this.open;
    for (const socket of [...this.open.keys()]) socket.destroy();
    return size;
  }
}
