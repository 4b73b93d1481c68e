// How operators name the lanes of a key.
//
//   N1. A lane is named by its own key (`K~2.5`), the key before it was split by `K~0.0`; the whole
//       key (`K`) shows all of them and takes no action: what it would mean is not one thing.
//   N2. Whether a key is split is what was announced, not what this instance's definition says.
import type { LanePlace } from '../../shared/convoy/state.ts';
import { ConvoyError } from '../../shared/errors.ts';
import {
  type Generation,
  generationsOf,
  laneNamed,
  laneSessionOf,
  olderPlaces,
} from '../../shared/lanes.ts';
import type { OperatorDeps } from './deps.ts';

/** [N1] The key that the store knows: of `K~0.0` the split key itself. */
export async function storedKey(deps: OperatorDeps, convoy: string, asked: string) {
  const named = laneNamed(asked);
  if (named?.generation !== 0) return asked;
  return (await splitOf(deps, convoy, named.key)).length > 0 ? named.key : asked;
}

/** [N1] The key to act on. Throws CVY_BAD_REQUEST for a split key as a whole. */
export async function keyToActOn(deps: OperatorDeps, convoy: string, asked: string) {
  const generations = await splitOf(deps, convoy, asked);
  if (generations.length === 0) return storedKey(deps, convoy, asked);
  const names = lanesOf(asked, generations).map(nameOf);
  const some = names.length > 12 ? [...names.slice(0, 12), '…'] : names;
  throw new ConvoyError('CVY_BAD_REQUEST', `'${asked}' is split; name a lane: ${some.join(', ')}`);
}

/** [N2] The announced generations of a key; none where it is not split. */
export async function splitOf(deps: OperatorDeps, convoy: string, key: string) {
  if (laneNamed(key) !== undefined) return [];
  const layout = (await deps.store.readLayout(convoy))?.item;
  return layout === undefined ? [] : generationsOf(layout, key);
}

export function lanesOf(key: string, generations: readonly Generation[]): LanePlace[] {
  return olderPlaces(generations, { key, generation: generations.length + 1, lane: 0 });
}

export const nameOf = (place: LanePlace): string =>
  place.generation === 0 ? `${place.key.replaceAll('~', '~~')}~0.0` : laneSessionOf(place);
