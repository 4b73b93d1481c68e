// One place for every spelling of a convoy's key: convoy id, instance id, item ids, path form.
import { createHash } from 'node:crypto';

export const convoyNamePattern = /^[a-z][a-z0-9-]{0,29}$/;
export const keyLengthMax = 128;
// oxlint-disable-next-line no-control-regex -- control characters are what it looks for
const controlCharacters = /[\u0000-\u001f\u007f-\u009f]/;

export function hexHash(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('hex');
}

/** Why a text cannot be a key, or undefined when it can. */
export function keyFault(key: string): string | undefined {
  if (key.length === 0) return 'the key is empty';
  if (key.length > keyLengthMax) return `the key has ${key.length} characters, 128 are allowed`;
  if (controlCharacters.test(key)) return 'the key holds control characters';
  if (!key.isWellFormed()) return 'the key holds a lone surrogate (broken Unicode)';
  return undefined;
}

/** Partition key of everything of one key. */
export function convoyIdOf(convoy: string, key: string): string {
  return `${convoy}:${key}`;
}

/** [H2] Instance id: hosts forbid `/ \ # ?` and more than 100 characters, so the key is hashed. */
export function instanceIdOf(convoy: string, key: string, epoch: number): string {
  return `${convoy}-${hexHash(convoyIdOf(convoy, key)).slice(0, 40)}-${epoch}`;
}

/** The broker's message id of a business id: unique per key, at most 49 characters. */
export function brokerMessageId(key: string, id: string): string {
  return `${hexHash(key).slice(0, 16)}-${hexHash(id).slice(0, 32)}`;
}

/** CONTRACT §3: `<convoy>:<key>:<position>:<n>`, the key hashed when longer than 128 in all. */
export function outputMessageId(
  convoy: string,
  key: string,
  { position, n }: { position: number; n: number },
): string {
  const plain = `${convoy}:${key}:${position}:${n}`;
  return plain.length <= 128 ? plain : `${convoy}:~${hexHash(key).slice(0, 32)}:${position}:${n}`;
}

/** [H13] Partition key of a window across keys. */
export function windowIdOf(convoy: string, window: string, start: number): string {
  return `${convoy}:${window}:${start}`;
}

/** CONTRACT §3: a part of a roll-up; the longest one has 104 characters. */
export function rollUpMessageId(
  place: { convoy: string; window: string; start: number },
  { revision, part }: { revision: number; part: number },
): string {
  return `${windowIdOf(place.convoy, place.window, place.start)}:${revision}:${part}`;
}

/** CONTRACT §5: every byte outside `[A-Za-z0-9_-]` is written `~hh`. */
export function toPathKey(key: string): string {
  return [...Buffer.from(key, 'utf8')]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return /[A-Za-z0-9_-]/.test(character) ? character : `~${byte.toString(16).padStart(2, '0')}`;
    })
    .join('');
}

/** The key of a path form; undefined when it is not one. */
export function fromPathKey(pathKey: string): string | undefined {
  if (!/^(?:[A-Za-z0-9_-]|~[0-9a-f]{2})+$/.test(pathKey)) return undefined;
  const bytes = pathKey.replace(
    /~([0-9a-f]{2})|(.)/g,
    (_, hex: string | undefined, plain) =>
      hex ?? Buffer.from(plain as string, 'latin1').toString('hex'),
  );
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
      Buffer.from(bytes, 'hex'),
    );
  } catch {
    return undefined;
  }
}
