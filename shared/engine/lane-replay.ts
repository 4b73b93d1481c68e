// Replay in a retired lane: what was parked because it came too late is admitted to the newest
// lane of its key (H1), in order; then its parked copy here is settled as moved. What was parked
// before the lane retired heals here, as ever.
//
// Crash points: after an admit, before the copies are settled – the repeat finds `seen` in the
// newest lane and admits nothing. A generation that is announced meanwhile: the message parks in
// the lane it was moved to, and is moved again by a replay there.
import type { ConvoyDefinition } from '../convoy/definition.ts';
import type { Progress } from '../convoy/state.ts';
import { convoyIdOf } from '../keys.ts';
import { laneSessionOf, newestPlace } from '../lanes.ts';
import { StoreUnavailable } from '../store/store.ts';
import { admitFitting } from './intake.ts';
import { lanePlaceOf } from './lane.ts';
import { currentLayout } from './layout.ts';
import { type Place, messageOf } from './placed.ts';
import type { Engine } from './ports.ts';

/** As many as one action can move; the next replay goes on. */
const movesMax = 300;
const readMax = 100;

/** Admits what came too late to the newest lane; answers what of `parked` may heal here now. */
export async function moveLate(
  engine: Engine,
  { convoy, key }: Place,
  { progress, definition }: { progress: Progress; definition: ConvoyDefinition },
): Promise<number[]> {
  const { parked, retired } = progress;
  if (retired === null) return [...parked];
  const early = parked.filter((position) => position <= retired.tail);
  const late = parked.filter((position) => position > retired.tail).slice(0, movesMax);
  const layout = await currentLayout(engine, definition);
  const own = lanePlaceOf(key, progress.lane);
  const moved: number[] = [];
  for (let at = 0; at < late.length; at += readMax) {
    const positions = late.slice(at, at + readMax);
    for (const item of await engine.store.readInboxAt(convoyIdOf(convoy, key), positions)) {
      const place = newestPlace(layout, own.key, item.laneKey);
      // Moved onto itself it would be its own duplicate, and lost.
      if (place.generation <= own.generation) throw new StoreUnavailable('stale read of the lanes');
      const request = { convoy, key: laneSessionOf(place), sequence: item.sequence };
      await admitFitting(engine, { ...request, message: messageOf(item) });
      moved.push(item.position);
    }
  }
  return [...early, ...moved];
}
