// HTTP by the byte: what node:http would refuse to send is sent as it is.
import { connect } from 'node:net';

export interface RawAnswer {
  /** 0: the server closed the connection without an answer. */
  status: number;
  headers: string;
  body: string;
}

/** A header whose name or value node:http would refuse goes too. */
export interface RawRequest {
  method: string;
  path: string;
  headers?: readonly (readonly [name: string, value: string])[];
  body?: Buffer;
}

function requestBytes({ method, path, headers = [], body }: RawRequest): Buffer {
  const names = new Set(headers.map(([name]) => name.toLowerCase()));
  const lines = [
    `${method} ${path} HTTP/1.1`,
    ...(names.has('host') ? [] : ['host: localhost']),
    'connection: close',
    ...headers.map(([name, value]) => `${name}: ${value}`),
    ...(body && !names.has('content-length') ? [`content-length: ${body.length}`] : []),
  ];
  const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  return body ? Buffer.concat([head, body]) : head;
}

/** Whether the server has to wait for more of it; it then gets the end of sending instead. */
function isCutOff({ headers = [] }: RawRequest): boolean {
  return headers.some(([name]) => /^(?:transfer-encoding|content-length|expect)$/i.test(name));
}

/** Sends a request on a connection of its own and reads until the server ends it. */
export function exchange(port: number, request: RawRequest): Promise<RawAnswer> {
  const bytes = requestBytes(request);
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    const socket = connect(port, '127.0.0.1', () => {
      if (isCutOff(request)) socket.end(bytes);
      else socket.write(bytes);
    });
    socket.setTimeout(30_000, () => socket.destroy(new Error('no answer within 30 s')));
    socket.on('data', (part) => parts.push(part));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // The server may close before it has read everything.
      if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') reject(error);
    });
    socket.on('close', () => resolve(answerOf(Buffer.concat(parts))));
  });
}

function answerOf(bytes: Buffer): RawAnswer {
  const end = bytes.indexOf('\r\n\r\n');
  const head = bytes.subarray(0, Math.max(end, 0)).toString('latin1');
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1] ?? 0);
  return { status, headers: head.toLowerCase(), body: bytes.subarray(end + 4).toString('utf8') };
}
