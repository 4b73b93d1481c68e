// A state in one line, for the trace of a counterexample.
import type { System } from './steps.ts';
import type { World } from './world.ts';

export function describeWorld({ shelves }: System, world: World): string {
  const { gate, progress, outbox } = shelves.get(world.shelf);
  if (!gate || !progress) return '';
  const waiting = gate.waiting ? ' waiting' : '';
  const hold = progress.hold.kind === 'none' ? '' : ` ${progress.hold.kind}`;
  const outputs = outbox.length > 0 ? `, outbox ${outbox.length}` : '';
  const stands = `gate ${gate.phase}${waiting} epoch ${gate.epoch} tail ${gate.tail}`;
  const done = `progress epoch ${progress.epoch} cursor ${progress.cursor}${hold}`;
  return `  [${stands}; ${done}${outputs}; settled ${world.settled}, sent ${world.sent}]`;
}
