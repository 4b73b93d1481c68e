// The chain check against a plain walk: any order of reading, any expiry from the old end.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ChainCheck, type KeptLink } from '../../shared/convoy/chain-check.ts';
import { chainStart, linkOf } from '../../shared/convoy/chain.ts';
import { SenderGaps } from '../../shared/convoy/sender-gaps.ts';
import { hexHash } from '../../shared/keys.ts';

function linksUpTo(count: number): KeptLink[] {
  const links: KeptLink[] = [];
  let before = chainStart;
  for (let settlement = 1; settlement <= count; settlement += 1) {
    const message = { position: settlement, messageId: `m${settlement}`, bodyText: '{}' };
    const chain = linkOf({ before, message, outcome: 'applied' }, hexHash);
    const kept = { settlement, position: settlement, outcome: 'applied', settledAt: settlement };
    links.push({ ...kept, message, chain, ttl: 60 });
    before = chain;
  }
  return links;
}

const links = linksUpTo(40);
const last = links.at(-1)?.chain ?? '';
const report = (kept: readonly KeptLink[], now = 0) => {
  const check = new ChainCheck(hexHash);
  for (const link of kept) check.add(link);
  return check.finish({ settled: 40, chain: last }, { now, ttl: undefined });
};

test('links read in any order, from any oldest one, are all recomputed but the first', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 39 }),
      fc.infiniteStream(fc.nat(1_000)),
      (expired, order) => {
        const kept = links
          .slice(expired)
          .map((link) => ({ link, at: order.next().value as number }))
          .sort((a, b) => a.at - b.at)
          .map(({ link }) => link);

        expect(report(kept)).toEqual({
          checked: kept.length - (expired > 0 ? 1 : 0),
          from: expired + 1,
          to: 40,
          firstBreak: undefined,
          missing: [],
        });
      },
    ),
  );
});

test('any one tampered or removed link is the first break', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 38 }), fc.boolean(), (index, isRemoved) => {
      const kept = isRemoved
        ? links.filter((_, at) => at !== index)
        : links.map((link, at) => (at === index ? { ...link, chain: 'x' } : link));

      expect(report(kept).firstBreak?.settlement).toBe(index + 1);
    }),
  );
});

test('a hole is none where what is missing may have expired', () => {
  const kept = links.filter(({ settlement }) => settlement !== 10);

  expect(report(kept, 9 + 60_000).missing).toEqual([{ from: 10, to: 10, isExpired: true }]);
  expect(report(kept, 9 + 59_999).firstBreak).toMatchObject({ settlement: 10 });
});

test('holes of the sender are those of the sorted numbers', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1 }), (numbers) => {
      const gaps = new SenderGaps();
      for (const [position, n] of numbers.entries()) gaps.add(n, { position, messageId: `${n}` });

      const sorted = [...new Set(numbers)].sort((a, b) => a - b);
      const holes = sorted.flatMap((n, i) => {
        const before = sorted[i - 1] ?? n - 1;
        return n > before + 1 ? [{ from: before + 1, to: n - 1 }] : [];
      });
      expect(gaps.gaps().map(({ from, to }) => ({ from, to }))).toEqual(holes);
    }),
  );
});
