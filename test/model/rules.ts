// What must hold, whatever happens. Checked on every write of the store, at every settlement and at
// every acceptance by the broker; and at the end of every history.
import type { DrainRequest } from '../../shared/engine/drain-context.ts';
import type { OutboxItem } from '../../shared/store/items.ts';
import type { Node } from './automaton.ts';
import { assertHandoff } from './code.ts';
import type { Shelf } from './shelf.ts';

/** What the history should come to. */
export interface Expected {
  /** Message ids in the order of the queue, repeats left out. */
  order: readonly string[];
  /** Those of them that have an effect and an output. */
  effects: readonly string[];
}

/** Why a write must not have happened, or undefined. */
export function faultOfWrite(
  expected: Expected,
  write: { node: Node; before: Shelf; after: Shelf },
): string | undefined {
  const { node, before, after } = write;
  return (
    faultOfShelf(expected, after) ??
    faultOfSteps(before, after) ??
    (node.program.role === 'drain' ? faultOfFence(node.program.request, before, after) : undefined)
  );
}

/** Order, once, nothing lost, and the invariants of the hand-off. */
function faultOfShelf(expected: Expected, shelf: Shelf): string | undefined {
  const { gate, progress, inbox } = shelf;
  if (!gate || !progress) return 'H1: gate and progress come together';
  try {
    assertHandoff(gate, progress);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  const admitted = inbox.map(({ messageId }) => messageId);
  if (admitted.join() !== expected.order.slice(0, admitted.length).join())
    return `H1: the inbox holds ${admitted.join()} of ${expected.order.join()}`;
  if (inbox.length !== gate.tail || inbox.some(({ position }, i) => position !== i + 1))
    return `H1: tail ${gate.tail} over the positions ${inbox.map((i) => i.position).join()}`;
  const done = inbox.filter(({ outcome }) => outcome !== 'waiting').length;
  if (done !== progress.cursor) return `H5: ${done} messages settled, cursor ${progress.cursor}`;
  const { ids } = progress.state as { ids: string[] };
  const effects = expected.effects.filter((id) => admitted.slice(0, progress.cursor).includes(id));
  if (ids.join() !== effects.join()) return `H5: effects ${ids.join()}, not ${effects.join()}`;
  if (gate.waiting && (gate.phase !== 'active' || progress.cursor < gate.tail))
    return 'H4: waits with backlog';
  if (gate.phase !== 'idle') return undefined;
  if (progress.cursor < gate.tail) return 'H6: closed with backlog';
  if (shelf.outbox.length > 0) return 'H6: closed with outputs that are not published';
  return progress.hold.kind === 'none' ? undefined : `H6: closed while ${progress.hold.kind}`;
}

/** What only rises. */
function faultOfSteps(before: Shelf, after: Shelf): string | undefined {
  const rises: [string, number, number][] = [
    ['H3: epoch of the gate', before.gate?.epoch ?? 0, after.gate?.epoch ?? 0],
    ['H3: epoch of progress', before.progress?.epoch ?? 0, after.progress?.epoch ?? 0],
    ['H1: tail', before.gate?.tail ?? 0, after.gate?.tail ?? 0],
    ['H5: cursor', before.progress?.cursor ?? 0, after.progress?.cursor ?? 0],
    ['H11: published', before.gate?.publishedCommits ?? 0, after.gate?.publishedCommits ?? 0],
  ];
  const fell = rises.find(([, from, to]) => to < from);
  if (fell) return `${fell[0]} went from ${fell[1]} back to ${fell[2]}`;
  if ((after.gate?.epoch ?? 0) > epochsMax) return 'no progress: epochs rise without end';
  const hold = before.progress?.hold.kind;
  const isHeld = hold === 'blocked' || hold === 'paused';
  return after.gate?.phase === 'idle' && isHeld ? `H6: closed over a hold, ${hold}` : undefined;
}

/** More than the faults of any scope can open. */
const epochsMax = 9;

/** [H5] A drain writes progress only as the epoch that both items name. */
function faultOfFence(request: DrainRequest, before: Shelf, after: Shelf): string | undefined {
  if (JSON.stringify(before.progress) === JSON.stringify(after.progress)) return undefined;
  const { gate, progress } = before;
  const isOwn = gate?.epoch === request.epoch && progress?.epoch === request.epoch;
  if (isOwn && gate?.phase === 'active') return undefined;
  const stands = `the gate is ${gate?.phase} in ${gate?.epoch}, the fence at ${progress?.epoch}`;
  return `H5: a drain of epoch ${request.epoch} commits while ${stands}`;
}

/** [H2] Why a message must not be settled at the broker now. */
export function faultOfSettlement(messageId: string, shelf: Shelf): string | undefined {
  return shelf.inbox.some((item) => item.messageId === messageId)
    ? undefined
    : `H10: ${messageId} was settled at the broker and never admitted`;
}

/** [H11] How many outputs the broker has now, or why it must not have been given these. */
export function accept(
  expected: Expected,
  sent: number,
  outputs: readonly { causationId: string }[],
): { sent: number } | { fault: string } {
  let count = sent;
  for (const { causationId } of outputs) {
    const place = expected.effects.indexOf(causationId);
    if (place < 0 || place > count) return { fault: `H11: ${causationId} published out of order` };
    if (place === count) count += 1;
  }
  return { sent: count };
}

/** [H11] Outputs that left the outbox: the highest must be with the broker. */
export function removed(expected: Expected, before: Shelf, after: Shelf): number {
  const kept = new Set(after.outbox.map(({ id }) => id));
  const gone = before.outbox.filter(({ id }) => !kept.has(id));
  const places = gone.flatMap(({ outputs }: OutboxItem) =>
    outputs.map(({ causationId }) => expected.effects.indexOf(causationId) + 1),
  );
  return Math.max(0, ...places);
}

/** Why nothing may end like this, or undefined when all is done. */
export function faultOfEnd(
  expected: Expected,
  end: { shelf: Shelf; settled: number; deliveries: number; sent: number },
): string | undefined {
  const { gate, progress } = end.shelf;
  if (end.settled < end.deliveries) return `stranded: ${end.settled} deliveries settled`;
  if (!gate || !progress) return 'stranded: no gate';
  if (progress.cursor < expected.order.length)
    return `stranded: message ${progress.cursor + 1} is never taken`;
  if (end.sent < expected.effects.length)
    return `stranded: output ${end.sent + 1} is never published`;
  return gate.phase === 'idle' ? undefined : `stranded: the gate ends ${gate.phase}`;
}
