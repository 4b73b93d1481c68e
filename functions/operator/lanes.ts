// Lanes as operators see them: the layout for senders, and a split key as a whole.
import { isoInstant } from '../../shared/clock.ts';
import type { LaneState } from '../../shared/convoy/lane-plan.ts';
import { ConvoyError, reasonOf } from '../../shared/errors.ts';
import { convoyIdOf, toPathKey } from '../../shared/keys.ts';
import { type Generation, fenceEndOf, laneSessionOf } from '../../shared/lanes.ts';
import type { LayoutItem } from '../../shared/store/items.ts';
import { detailAnswer } from './answers.ts';
import { lanesOf, nameOf, splitOf, storedKey } from './lane-keys.ts';
import type { OperatorDeps } from './deps.ts';
import { type LaneFacts, laneAnswer, splitAnswer } from './lane-answers.ts';
import { detailOf, factsOf, mapBounded, unknownKey } from './reads.ts';
import { type Call, assertParameters, convoyIn, keyIn } from './request.ts';

/** `GET /lanes/{convoy}`: what senders go by. */
export async function showLanes(deps: OperatorDeps, call: Call) {
  assertParameters(call, []);
  const convoy = convoyIn(call);
  if (!deps.convoys.some(({ name }) => name === convoy))
    throw new ConvoyError('CVY_CONVOY_UNKNOWN', `no convoy '${convoy}' is registered`);
  const layout = await deps.currentLanes(convoy);
  const list = (generations: readonly Generation[]) =>
    generations.map((generation) => generationAnswer(generation, layout));
  const keys = Object.entries(layout.keys).map(([key, generations]) => [key, list(generations)]);
  const { refreshSeconds } = layout;
  return { convoy, refreshSeconds, all: list(layout.all), keys: Object.fromEntries(keys) };
}

function generationAnswer(generation: Generation, { fenceSeconds }: LayoutItem) {
  const { count, queue, announcedAt } = generation;
  const opensAt = fenceEndOf(generation, fenceSeconds);
  return {
    ...{ count, queue },
    announcedAt: announcedAt === null ? null : isoInstant(announcedAt),
    /** Not before; then when the older lanes are drained. */
    opensAt: opensAt === null ? null : isoInstant(opensAt),
  };
}

/** `GET /convoys/{convoy}/{key}`: of a split key the whole, else the key. */
export async function showConvoy(deps: OperatorDeps, call: Call) {
  assertParameters(call, []);
  const convoy = convoyIn(call);
  const asked = keyIn(call);
  const generations = await splitOf(deps, convoy, asked);
  if (generations.length > 0) return wholeOf(deps, { convoy, key: asked }, generations);
  return laneDetailOf(deps, convoy, asked);
}

/** The detail of one key or lane, under the name it was asked by [N1]. */
export async function laneDetailOf(deps: OperatorDeps, convoy: string, asked: string) {
  const key = await storedKey(deps, convoy, asked);
  const detail = await detailOf(deps, convoy, key);
  if (key === asked) return detail;
  return { ...detail, pathKey: toPathKey(asked), lane: { key, generation: 0, lane: 0 } };
}

/** Every lane that has ever had a message, or was retired without one. */
async function wholeOf(
  deps: OperatorDeps,
  { convoy, key }: { convoy: string; key: string },
  generations: readonly Generation[],
) {
  const { store, clock } = deps;
  const found = await mapBounded(lanesOf(key, generations), async (place) => {
    const convoyId = convoyIdOf(convoy, laneSessionOf(place));
    const [gate, progress] = await Promise.all([
      store.readGate(convoyId),
      store.readProgress(convoyId),
    ]);
    if (!gate) return [];
    const facts = await factsOf(store, gate.item, progress?.item);
    const none = { repeats: 0, deadLettered: 0, throttled: null };
    const detail = detailAnswer({ ...facts, ...none }, clock.now());
    return [{ place, name: nameOf(place), detail } satisfies LaneFacts];
  });
  const lanes = found.flat();
  if (lanes.length === 0) throw unknownKey(convoy, key);
  const merge = deps.convoys.find(({ name }) => name === convoy)?.merge;
  const states = lanes.map(({ place, detail }) => {
    return { generation: place.generation, lane: place.lane, state: detail.state };
  });
  return {
    ...splitAnswer({ convoy, key }, lanes),
    ...(merge ? merged(merge, states) : { state: null }),
    lanes: lanes.map((lane) => laneAnswer(lane, { withState: merge === undefined })),
  };
}

/** The adopter's code: what it throws is shown in the place of the state. */
function merged(merge: (lanes: readonly LaneState[]) => unknown, states: readonly LaneState[]) {
  try {
    return { state: merge(states) ?? null };
  } catch (error) {
    return { state: null, mergeFault: reasonOf(error) };
  }
}
