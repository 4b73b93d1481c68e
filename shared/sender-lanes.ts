// The sender's book of layouts: which lane a message goes to, and how long that may be believed.
//
//   N4. A layout counts from the start of the request that brought it, by the slower of two clocks
//       (the wall's may be set back, the monotonic one stands still in a suspended machine), and
//       nobody sends by an older one: CVY_LANES_STALE.
//   N5. It is asked for again when half of its time is over, beside the sending; only when all of
//       it is over does sending wait.
import { ConvoyError, reasonOf } from './errors.ts';
import type { Clock } from './clock.ts';
import { type LaneLayout, type LaneSource, sendSecondsMax } from './lanes.ts';

export interface PinnedLayout {
  layout: LaneLayout;
  /** By the sender's clock: what is sent by this layout has to be with the broker by then. */
  until: number;
}

export interface LayoutBook {
  /** Rejects with CVY_LANES_STALE. */
  pin(convoy: string): Promise<PinnedLayout>;
}

interface Entry {
  layout: LaneLayout;
  askedAt: Instants;
}

interface Instants {
  wallMs: number;
  steadyMs: number;
}

export function createLayoutBook(source: LaneSource, clock: Clock): LayoutBook {
  const entries = new Map<string, Entry>();
  const asking = new Map<string, Promise<void>>();
  const now = (): Instants => ({ wallMs: clock.now(), steadyMs: performance.now() });
  const ageMs = ({ askedAt }: Entry): number => {
    const { wallMs, steadyMs } = now();
    return Math.max(wallMs - askedAt.wallMs, steadyMs - askedAt.steadyMs);
  };
  const ask = (convoy: string): Promise<void> => {
    const under = asking.get(convoy);
    if (under) return under;
    const askedAt = now();
    const answer = source(convoy)
      .then((layout) => void entries.set(convoy, { layout, askedAt }))
      .finally(() => asking.delete(convoy));
    asking.set(convoy, answer);
    return answer;
  };
  return {
    async pin(convoy) {
      const known = entries.get(convoy);
      const refreshMs = (known?.layout.refreshSeconds ?? 0) * 1000;
      if (known && ageMs(known) < refreshMs) {
        if (ageMs(known) > refreshMs / 2) ask(convoy).catch(() => {});
        return pinned(known.layout, clock);
      }
      try {
        await ask(convoy);
      } catch (error) {
        throw stale(convoy, reasonOf(error), error);
      }
      const fresh = entries.get(convoy);
      // The answer itself took longer than it is good for.
      if (!fresh || ageMs(fresh) >= fresh.layout.refreshSeconds * 1000)
        throw stale(convoy, 'the answer took too long');
      return pinned(fresh.layout, clock);
    },
  };
}

function pinned(layout: LaneLayout, clock: Clock): PinnedLayout {
  return { layout, until: clock.now() + sendSecondsMax * 1000 };
}

function stale(convoy: string, reason: string, cause?: unknown): ConvoyError {
  return new ConvoyError('CVY_LANES_STALE', `lanes of '${convoy}': ${reason}`, { cause });
}

const answerWithinMs = 15_000;

/** The layout as the app's API tells it: `GET /api/lanes/{convoy}`; `code` is a function key. */
export function lanesFrom(url: string, options: { code?: string } = {}): LaneSource {
  const base = url.replace(/(?<!\/)\/+$/, '');
  return async (convoy) => {
    const response = await fetch(`${base}/api/lanes/${encodeURIComponent(convoy)}`, {
      headers: options.code === undefined ? {} : { 'x-functions-key': options.code },
      signal: AbortSignal.timeout(answerWithinMs),
    });
    const answer: unknown = await response.json().catch(() => undefined);
    if (response.ok && isLayout(answer)) return answer;
    throw new ConvoyError('CVY_UNREACHABLE', `${base} answers ${response.status} for its lanes`);
  };
}

function isLayout(answer: unknown): answer is LaneLayout {
  if (typeof answer !== 'object' || answer === null) return false;
  const { refreshSeconds, all, keys } = answer as Partial<Record<keyof LaneLayout, unknown>>;
  const isList = (list: unknown): boolean => Array.isArray(list) && list.every(isGeneration);
  if (typeof refreshSeconds !== 'number' || !(refreshSeconds > 0) || !isList(all)) return false;
  return typeof keys === 'object' && keys !== null && Object.values(keys).every(isList);
}

function isGeneration(one: unknown): boolean {
  if (typeof one !== 'object' || one === null) return false;
  const { count, queue } = one as { count?: unknown; queue?: unknown };
  return Number.isSafeInteger(count) && Number(count) >= 1 && typeof queue === 'string';
}
