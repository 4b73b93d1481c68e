// PURE. A split key as a whole: the sums of its lanes, and each lane in short.
import type { LanePlace } from '../../shared/convoy/state.ts';
import { toPathKey } from '../../shared/keys.ts';
import type { detailAnswer } from './answers.ts';

type Detail = ReturnType<typeof detailAnswer>;

export interface LaneFacts {
  place: LanePlace;
  /** By which operators name it. */
  name: string;
  detail: Detail;
}

const sumOf = (lanes: readonly LaneFacts[], of: (detail: Detail) => number): number =>
  lanes.reduce((sum, { detail }) => sum + of(detail), 0);

/** Everything but state and lanes; what has no meaning for several lanes is null or empty. */
export function splitAnswer(place: { convoy: string; key: string }, lanes: readonly LaneFacts[]) {
  const details = lanes.map(({ detail }) => detail);
  const ages = details.flatMap(({ headAgeSeconds }) => headAgeSeconds ?? []);
  const phases = details.map(({ phase }) => phase);
  const [none] = details.map(({ hold }) => hold).filter(({ kind }) => kind === 'none');
  return {
    ...place,
    pathKey: toPathKey(place.key),
    phase: phases.find((phase) => phase === 'active') ?? phases.find((p) => p === 'held') ?? 'idle',
    epoch: Math.max(...details.map(({ epoch }) => epoch)),
    tail: sumOf(lanes, ({ tail }) => tail),
    cursor: sumOf(lanes, ({ cursor }) => cursor),
    backlog: sumOf(lanes, ({ backlog }) => backlog),
    headAgeSeconds: ages.length === 0 ? null : Math.max(...ages),
    parked: sumOf(lanes, ({ parked }) => parked),
    hold: details.map(({ hold }) => hold).find(({ kind }) => kind !== 'none') ?? none ?? null,
    hot: details.map(({ hot }) => hot).find(Boolean) ?? null,
    updatedAt: details
      .map(({ updatedAt }) => updatedAt)
      .toSorted()
      .at(-1),
    windows: lanes.flatMap(({ name, detail }) =>
      detail.windows.map((window) => ({ ...window, lane: name })),
    ),
    chain: '',
    instanceId: null,
    settled: sumOf(lanes, ({ settled }) => settled),
    counts: countsOf(details),
    lane: null,
    retired: null,
  };
}

function countsOf(details: readonly Detail[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const { counts } of details) {
    for (const [name, n] of Object.entries(counts ?? {})) sums[name] = (sums[name] ?? 0) + n;
  }
  return sums;
}

/** One of `lanes`; with its state where nothing merges the states. */
export function laneAnswer({ place, name, detail }: LaneFacts, options: { withState: boolean }) {
  const { phase, epoch, tail, cursor, backlog, parked, hold, retired, chain, instanceId } = detail;
  return {
    generation: place.generation,
    lane: place.lane,
    key: name,
    pathKey: toPathKey(name),
    ...{ phase, epoch, tail, cursor, backlog, parked, hold, retired, chain, instanceId },
    ...(options.withState && { state: detail.state }),
  };
}
