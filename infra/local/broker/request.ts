// PURE. A request to $cbs or $management as it lies in a message, and the frame of its reply [SB 2,
// 11].
import { refusals } from './conditions.ts';
import * as wire from './wire.ts';
import type { Decoded } from './wire.ts';

export interface Request {
  /** The message id as it came, to be echoed as correlation id in its own type. */
  messageId: Buffer;
  replyTo: string | null;
  properties: Map<string, Decoded>;
  /** The message and the offsets of the body map's values. */
  bytes: Buffer;
  body: Map<string, number>;
  /** A body that is not a map: the token of $cbs. */
  value: Decoded;
}

/** Reads a request message; throws a Refusal. */
export function parseRequest(bytes: Buffer): Request {
  const request: Request = {
    messageId: wire.encodeNull,
    replyTo: null,
    properties: new Map(),
    bytes,
    body: new Map(),
    value: null,
  };
  try {
    for (const section of wire.sectionsOf(bytes)) {
      if (section.code === 0x73) readProperties(request, section.value);
      else if (section.code === 0x74) {
        const decoded = wire.decode(bytes, section.value);
        if (decoded instanceof Map) request.properties = decoded;
      } else if (section.code === 0x77) {
        const isMap = bytes[section.value] === 0xc1 || bytes[section.value] === 0xd1;
        if (isMap) request.body = wire.mapOffsets(bytes, section.value);
        else request.value = wire.decode(bytes, section.value);
      }
    }
  } catch (error) {
    throw refusals.malformed(error instanceof Error ? error.message : String(error));
  }
  return request;
}

function readProperties(request: Request, at: number): void {
  const { bytes } = request;
  const items = wire.itemsOf(bytes, at);
  const [messageId, replyTo] = [items[0], items[4]];
  if (messageId !== undefined) {
    request.messageId = bytes.subarray(messageId, wire.skip(bytes, messageId));
  }
  const text = replyTo === undefined ? null : wire.decode(bytes, replyTo);
  request.replyTo = typeof text === 'string' ? text : null;
}

/** A reply message: correlation id, application properties, body. */
export function encodeReply(request: Request, properties: Buffer[], body: Uint8Array): Buffer {
  const nothing = wire.encodeNull;
  const correlation = [nothing, nothing, nothing, nothing, nothing, request.messageId];
  return Buffer.concat([
    wire.encodeSection(0x73, wire.encodeList(correlation)),
    wire.encodeSection(0x74, wire.encodeMap(properties)),
    wire.encodeSection(0x77, body),
  ]);
}

/** The session a request is about, or null. */
export function sessionIdOf(request: Request): string | null {
  const at = request.body.get('session-id');
  const sessionId = at === undefined ? null : wire.decode(request.bytes, at);
  return typeof sessionId === 'string' ? sessionId : null;
}
