// Duplicates across generations of lanes: ids are known per partition, so a young lane asks in the
// older lanes that the message may have gone to.
//
//   L6  Admitted in an older lane up to the tail at which it retired: a duplicate, its effect
//       is there. Behind that tail: none, because there it is parked. A tail never changes, so the
//       answer is the same whenever it is asked. Asked until every marker of the older lanes may
//       have expired: dedupSeconds after the lane has opened.
//   L7  An older lane's retirement is read before its markers: what was admitted before it is then
//       seen, too, whichever replica answers.
import type { ConvoyDefinition } from '../convoy/definition.ts';
import type { Admitted, LanePlace, Progress } from '../convoy/state.ts';
import { convoyIdOf } from '../keys.ts';
import { laneOf, laneSessionOf } from '../lanes.ts';
import { StoreUnavailable } from '../store/store.ts';
import { laneAt } from './lane.ts';
import { readProgress } from './placed.ts';
import type { Engine } from './ports.ts';

const readsAtOnce = 8;

interface Young {
  convoy: string;
  key: string;
  progress: Progress;
  definition: ConvoyDefinition;
}

/** Positions whose message is an older lane's, and the session of that lane. */
export async function admittedElsewhere(
  engine: Engine,
  { convoy, key, progress, definition }: Young,
  messages: readonly Admitted[],
): Promise<ReadonlyMap<number, string>> {
  const found = new Map<number, string>();
  if (!isYoung(progress, definition, engine.clock.now())) return found;
  const lane = await laneAt(engine, { convoy, key });
  if (lane === undefined) return found;
  const counts = [1, ...lane.generations.map(({ count }) => count)].slice(0, lane.generation);
  const questions = messages.flatMap((message) =>
    counts.map((count, generation) => {
      const place = { key: lane.key, generation, lane: laneOf(message.laneKey, count) };
      return { message, place };
    }),
  );
  const tails = await tailsOf(engine, convoy, questions);
  await inParallel(questions, async ({ message, place }) => {
    const session = laneSessionOf(place);
    const seen = await engine.store.readSeen(convoyIdOf(convoy, session), message.messageId);
    if (seen && seen.position <= (tails.get(session) ?? 0)) found.set(message.position, session);
  });
  return found;
}

/** [L6] */
function isYoung(
  { lane, openedAt, retired }: Progress,
  { dedupSeconds }: ConvoyDefinition,
  now: number,
): boolean {
  // After its own retirement nothing new settles here.
  if (lane === null || openedAt === null || retired !== null) return false;
  return now <= openedAt + dedupSeconds * 1000;
}

/** [L7] The tail of every lane that is asked. */
async function tailsOf(
  engine: Engine,
  convoy: string,
  questions: readonly { place: LanePlace }[],
): Promise<Map<string, number>> {
  const sessions = [...new Set(questions.map(({ place }) => laneSessionOf(place)))];
  const tails = new Map<string, number>();
  await inParallel(sessions, async (session) => {
    const convoyId = convoyIdOf(convoy, session);
    // Remembered by the store of a drain: one read per older lane and process.
    const retired = (await readProgress(engine.store, convoyId))?.item.retired;
    if (!retired) {
      engine.store.forget?.(convoyId);
      throw new StoreUnavailable(`stale read: ${convoyId} is not retired`);
    }
    tails.set(session, retired.tail);
  });
  return tails;
}

async function inParallel<One>(
  list: readonly One[],
  work: (one: One) => Promise<void>,
): Promise<void> {
  for (let at = 0; at < list.length; at += readsAtOnce) {
    await Promise.all(list.slice(at, at + readsAtOnce).map(work));
  }
}
