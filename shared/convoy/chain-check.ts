// PURE. Checks a chain whose links come in any order, in one reading and in bounded memory.
//
// Links are taken in the order of positions, but chained in the order of settlement, and a healed
// message settles long after its neighbours. So what is kept is not the links but the runs they
// form: of each run its first link, which waits for the one before it, and the chain at its end.
//
// What expiry takes away is no break: it begins with the oldest settlements. A hole is a break
// where its neighbours say that what is missing cannot have expired yet.
import { type LinkInput, chainStart, linkOf } from './chain.ts';

export interface KeptLink {
  settlement: number;
  /** Absent when its body is gone: then its chain is taken as it is. */
  message?: LinkInput['message'];
  position: number;
  outcome: string;
  chain: string;
  settledAt: number;
  /** Seconds it is kept after `settledAt`; undefined = for ever. */
  ttl: number | undefined;
}

export interface Break {
  settlement: number;
  position: number | null;
  expected: string | null;
  found: string | null;
  why: string;
}

export interface MissingRange {
  from: number;
  to: number;
  /** Nothing proves that it was removed: it may have expired. */
  isExpired: boolean;
}

export interface ChainReport {
  /** Links that were recomputed. */
  checked: number;
  /** Settlement of the oldest kept link; null when none is kept. */
  from: number | null;
  to: number;
  firstBreak: Break | undefined;
  /** The first 100. */
  missing: MissingRange[];
}

interface Run {
  start: number;
  end: number;
  first: KeptLink;
  last: Pick<KeptLink, 'chain' | 'settledAt' | 'ttl' | 'position'>;
}

/** More runs than this are no chain any more. */
const runsMax = 50_000;
const missingMax = 100;

export class ChainCheck {
  readonly #hash: (text: string) => string;
  readonly #byStart = new Map<number, Run>();
  readonly #byEnd = new Map<number, Run>();
  #checked = 0;
  #firstBreak: Break | undefined;

  constructor(hash: (text: string) => string) {
    this.#hash = hash;
  }

  /** False when there are too many runs to go on; then nothing more is said of what follows. */
  add(link: KeptLink): boolean {
    const { settlement } = link;
    if (this.#byStart.has(settlement) || this.#byEnd.has(settlement)) {
      this.#broken(twice(settlement, link.position));
      return true;
    }
    const left = this.#byEnd.get(settlement - 1);
    const right = this.#byStart.get(settlement + 1);
    if (left) this.#compare(link, left.last.chain);
    else if (settlement === 1) this.#compare(link, chainStart);
    if (right) this.#compare(right.first, link.chain);
    const run: Run = {
      start: left?.start ?? settlement,
      end: right?.end ?? settlement,
      first: left?.first ?? link,
      last: right?.last ?? link,
    };
    if (left) this.#byEnd.delete(left.end);
    if (right) this.#byStart.delete(right.start);
    this.#byStart.set(run.start, run);
    this.#byEnd.set(run.end, run);
    return this.#byStart.size < runsMax;
  }

  /** `head` is what the key says of itself; `ttl` how long a link is kept where none says so. */
  finish(
    head: { settled: number; chain: string },
    options: { now: number; ttl: number | undefined },
  ): ChainReport {
    const runs = [...this.#byStart.values()].sort((a, b) => a.start - b.start);
    const missing: MissingRange[] = [];
    const hole = (from: number, to: number, isExpired: boolean): void => {
      if (missing.length < missingMax) missing.push({ from, to, isExpired });
      if (isExpired) return;
      const why = from === to ? 'the settlement is gone' : `settlements ${from} to ${to} are gone`;
      this.#broken({ settlement: from, position: null, expected: null, found: null, why });
    };
    for (const [index, run] of runs.entries()) {
      const next = runs[index + 1];
      if (next && next.start <= run.end) this.#broken(twice(next.start, next.first.position));
      const upTo = next ? next.start - 1 : head.settled;
      if (upTo <= run.end) continue;
      const ttls = [run.last.ttl, next?.first.ttl].filter((ttl) => ttl !== undefined);
      const ttl = ttls.length > 0 ? Math.min(...ttls) : options.ttl;
      const keptUntil = ttl === undefined ? 0 : run.last.settledAt + ttl * 1000;
      hole(run.end + 1, upTo, keptUntil <= options.now);
    }
    const last = runs.at(-1);
    if (last?.end === head.settled && last.last.chain !== head.chain) {
      this.#broken({
        settlement: last.end,
        position: last.last.position,
        expected: last.last.chain,
        found: head.chain,
        why: 'the chain of the key is not that of its last settlement',
      });
    }
    return {
      checked: this.#checked,
      from: runs[0]?.start ?? null,
      to: head.settled,
      firstBreak: this.#firstBreak,
      missing,
    };
  }

  /** A break found elsewhere, for instance between two items that say the same. */
  #broken(found: Break): void {
    if (this.#firstBreak && this.#firstBreak.settlement <= found.settlement) return;
    this.#firstBreak = found;
  }

  #compare(link: KeptLink, before: string): void {
    const { settlement, position, message, outcome, chain } = link;
    if (message === undefined) return;
    this.#checked += 1;
    const expected = linkOf({ before, message, outcome }, this.#hash);
    if (expected === chain) return;
    const why = 'link before, position, message id, body and outcome do not give this link';
    this.#broken({ settlement, position, expected, found: chain, why });
  }
}

function twice(settlement: number, position: number): Break {
  const why = 'two messages claim the same settlement';
  return { settlement, position, expected: null, found: null, why };
}
