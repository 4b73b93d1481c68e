// What a $management operation is given, how it reads its request and answers [SB 11].
import { refusals } from './conditions.ts';
import type { AmqpError } from './conditions.ts';
import type { Entity } from './entity.ts';
import type { Holder, Lane } from './lane.ts';
import type { Consumer } from './link.ts';
import type { Namespace, Place } from './namespace.ts';
import { sessionIdOf } from './request.ts';
import type { Request } from './request.ts';
import * as wire from './wire.ts';
import type { Decoded } from './wire.ts';

/** Where an operation runs. */
export interface RequestContext {
  namespace: Namespace;
  entity: Entity;
  /** The same entity as an address found it; a topic is more than its entity. */
  place: Place;
  /** The receiving link the client named, if it is one of this connection. */
  associated: Consumer | undefined;
  /** Whether a session's holder is a link of this connection. */
  isOurs(holder: Holder | undefined): boolean;
}

/** What an operation answers. */
export interface Reply {
  status: number;
  /** Encoded key, value, key, value … */
  body: Buffer[];
  error?: AmqpError;
}

export type Operation = (request: Request, context: RequestContext) => Reply;

export const done = (...body: Buffer[]): Reply => ({ status: 200, body });
export const nothing: Reply = { status: 204, body: [] };

export function field(request: Request, name: string): Decoded {
  const at = request.body.get(name);
  return at === undefined ? undefined : wire.decode(request.bytes, at);
}

export function numberField(request: Request, name: string, fallback: number): number {
  const value = field(request, name);
  return typeof value === 'number' || typeof value === 'bigint' ? Number(value) : fallback;
}

export function textField(request: Request, name: string): string | undefined {
  const value = field(request, name);
  return typeof value === 'string' ? value : undefined;
}

export function listField(request: Request, name: string): Decoded[] {
  const value = field(request, name);
  if (!Array.isArray(value)) throw refusals.badRequest(`'${name}' is missing.`);
  return value;
}

/** The session of the request, if the associated link holds it [R2]. */
export function heldSession(request: Request, { associated, entity }: RequestContext): Lane {
  const sessionId = sessionIdOf(request);
  if (sessionId === null) throw refusals.badRequest("'session-id' is missing.");
  const lane = entity.sessions.find(sessionId);
  if (!lane || !associated?.holdsSession(sessionId)) throw refusals.sessionLockLost();
  return lane;
}
