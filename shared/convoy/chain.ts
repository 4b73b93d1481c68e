// PURE. The hash chain over the settled messages of one key: the proof of their order.
//
// Owns what a link is made of; settle() makes links, `verify` recomputes them, nobody else may.
//
// A link is the hash of: the link before it, position, message id, hash of the body, outcome. Only
// the message id may hold line feeds, and it stands between fields of known shape, so that no two
// messages share a text. What belongs to no decision (attempts, reason, instants) is left out.
import type { Admitted } from './state.ts';

/** The chain before the first settlement. */
export const chainStart = '';

export interface LinkInput {
  /** Link of the settlement before this one; `chainStart` for the first. */
  before: string;
  message: Pick<Admitted, 'position' | 'messageId' | 'bodyText' | 'bodyBase64'>;
  outcome: string;
}

/** Hash of the body as it was sent; what was too large to keep counts as empty. */
export function bodyHashOf(message: LinkInput['message'], hash: (text: string) => string): string {
  return hash(message.bodyText ?? message.bodyBase64 ?? '');
}

/** The link of one settlement; `hash` is SHA-256 as hex, handed in. */
export function linkOf(input: LinkInput, hash: (text: string) => string): string {
  const { before, message, outcome } = input;
  const { position, messageId } = message;
  return hash([before, position, messageId, bodyHashOf(message, hash), outcome].join('\n'));
}
