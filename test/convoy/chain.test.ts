// S2: a link holds everything that makes a settlement what it is.
import { describe, expect, test } from 'vitest';
import { chainStart, linkOf, type LinkInput } from '../../shared/convoy/chain.ts';
import { hexHash } from '../../shared/keys.ts';

const message = { position: 1, messageId: 'm', bodyText: '{"n":1}' };
const first: LinkInput = { before: chainStart, message, outcome: 'applied' };
const link = (changes: Partial<LinkInput> = {}): string =>
  linkOf({ ...first, ...changes }, hexHash);

describe('S2: a link', () => {
  test('is SHA-256 over link before, position, message id, body hash and outcome', () => {
    expect(link()).toBe(hexHash(`\n1\nm\n${hexHash('{"n":1}')}\napplied`));
  });

  test.each<[string, Partial<LinkInput>]>([
    ['the link before', { before: 'a' }],
    ['the position', { message: { ...message, position: 2 } }],
    ['the message id', { message: { ...message, messageId: 'n' } }],
    ['the body', { message: { ...message, bodyText: '{"n":2}' } }],
    ['the outcome', { outcome: 'rejected' }],
  ])('changes with %s', (_, changes) => {
    expect(link(changes)).not.toBe(link());
  });

  test('bytes that are no text are linked as they are kept', () => {
    const { bodyText: _, ...rest } = message;

    expect(link({ message: { ...rest, bodyBase64: 'e30=' } })).not.toBe(link({ message: rest }));
  });
});
