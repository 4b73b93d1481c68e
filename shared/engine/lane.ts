// Which lane of a split key a message is for, and whether the lane exists.
//
// A key that is not named like a lane costs nothing here. One that is (`<key>~2.5`) is looked up
// in the layout; where this process does not know it, the layout is confirmed, because taking a
// lane for an ordinary key would open it at once and let it overtake the older ones.
import type { LanePlace } from '../convoy/state.ts';
import { ConvoyError } from '../errors.ts';
import { type Generation, generationsOf, hasLanes, laneNamed, laneOf } from '../lanes.ts';
import type { LayoutItem } from '../store/items.ts';
import { type LayoutEngine, confirmLayout, knownLayout } from './layout.ts';
import type { Place } from './placed.ts';

/** A lane of generation 1 or up, as announced. */
export interface Lane extends LanePlace {
  /** The announced generations of the key, this one among them. */
  generations: readonly Generation[];
  layout: LayoutItem;
}

/** The lane of this key; undefined = it is a whole key. Throws CVY_LANE_UNKNOWN. */
export async function laneAt(
  engine: LayoutEngine,
  { convoy, key }: Place,
): Promise<Lane | undefined> {
  const named = laneNamed(key);
  if (named === undefined) return undefined;
  const known = laneIn(await knownLayout(engine, convoy), named);
  if (known !== undefined) return known;
  const layout = await confirmLayout(engine, convoy);
  const lane = laneIn(layout, named);
  if (lane !== undefined || !hasLanes(layout)) return lane;
  throw new ConvoyError('CVY_LANE_UNKNOWN', `'${key}' is no lane of convoy '${convoy}'`);
}

function laneIn(layout: LayoutItem | undefined, place: LanePlace): Lane | undefined {
  if (layout === undefined || place.generation === 0) return undefined;
  const generations = generationsOf(layout, place.key);
  const { count = 0 } = generations[place.generation - 1] ?? {};
  return place.lane < count ? { ...place, generations, layout } : undefined;
}

/** Refuses what our sender would not send: another lane than that of its lane key, or a lane of
 *  another queue, whose fences it would not meet. Throws CVY_LANE_UNKNOWN. */
export async function assertLane(
  engine: LayoutEngine,
  place: Place,
  { laneKey, queue }: { laneKey: string | undefined; queue: string },
): Promise<void> {
  const lane = await laneAt(engine, place);
  if (lane === undefined) return;
  const { queue: own, count = 1 } = lane.generations[lane.generation - 1] ?? {};
  if (own !== undefined && own !== queue) {
    const received = `lane '${place.key}' is in queue '${own}', it came by '${queue}'`;
    throw new ConvoyError('CVY_LANE_UNKNOWN', received);
  }
  const right = laneOf(laneKey, count);
  if (right === lane.lane) return;
  const hashed = laneKey === undefined ? 'without a lane key' : `lane key '${laneKey}'`;
  throw new ConvoyError('CVY_LANE_UNKNOWN', `${hashed} belongs to lane ${right}, not ${lane.lane}`);
}

/** What splits: the key of a lane, or the key itself. */
export function lanePlaceOf(key: string, lane: LanePlace | null): LanePlace {
  return lane ?? { key, generation: 0, lane: 0 };
}
