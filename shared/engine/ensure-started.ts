// [H2] Ensure started, [H4] wake. Only after this may a trigger return.
//
// `started` remembers instance ids for which this process has seen a successful start: H2 has then
// been served for that epoch, and a later disappearance of the instance is the sweeper's (H9). It
// is a cache of facts that never become untrue, bounded, and never consulted on the duplicate path.
import type { Gate } from '../convoy/state.ts';
import { instanceIdOf } from '../keys.ts';
import type { Place } from './placed.ts';
import type { Engine } from './ports.ts';

const startedMax = 20_000;

/** [H2] Starts the instance of the gate's epoch unless this process knows that it was started. */
export async function ensureStarted(
  engine: Engine,
  place: Place,
  options: { gate: Gate; wake: boolean; duplicate: boolean },
): Promise<void> {
  const { gate, wake, duplicate } = options;
  if (gate.phase !== 'active') return; // idle: settled already; held: needs no H2 (H8)
  const instanceId = instanceIdOf(place.convoy, place.key, gate.epoch);
  const input = { convoy: place.convoy, key: place.key, epoch: gate.epoch };
  const known = engine.started;
  if (duplicate || !known.has(instanceId)) {
    await engine.instances.start(instanceId, input);
    remember(known, instanceId);
  }
  if (!wake && !duplicate) return;
  const answer = await engine.instances.wake(instanceId);
  // H4: a wake answered 404 → start again.
  if (answer === 'missing') await engine.instances.start(instanceId, input);
}

function remember(known: Set<string>, instanceId: string): void {
  known.add(instanceId);
  if (known.size <= startedMax) return;
  const [oldest] = known;
  if (oldest !== undefined) known.delete(oldest);
}
