// Shared access signatures: does a token prove knowledge of the key? [SB 2.5, 2.9]
import { createHmac, timingSafeEqual } from 'node:crypto';

/** Why a SAS token is refused, or undefined when it is good. */
export function sasFault(token: string, key: string, nowMs: number): string | undefined {
  const text = /^SharedAccessSignature\s+(\S.*)$/.exec(token)?.[1];
  if (text === undefined) return 'The token is not a SharedAccessSignature.';
  const fields = new Map(
    text.split('&').map((part) => {
      const at = part.indexOf('=');
      return [part.slice(0, at), part.slice(at + 1)];
    }),
  );
  const [resource, signature, expiry] = [fields.get('sr'), fields.get('sig'), fields.get('se')];
  if (!resource || !signature || !expiry) return 'The token lacks sr, sig or se.';
  const expected = createHmac('sha256', key).update(`${resource}\n${expiry}`).digest();
  const given = Buffer.from(decode(signature), 'base64');
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
    return 'InvalidSignature: The token has an invalid signature.';
  }
  if (!(Number(expiry) * 1000 > nowMs)) return 'ExpiredToken: The token is expired.';
  return undefined;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return '';
  }
}
