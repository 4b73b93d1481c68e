// What is compared: facts of one key at rest, in one shape for reference, engine and runConvoy.
import type { ConvoyDefinition } from '../../shared/convoy/definition.ts';
import { type Counts, type OpenWindow, type Progress } from '../../shared/convoy/state.ts';
import type { RunResult } from '../../shared/run-convoy.ts';
import type { Fold } from './reference.ts';
import { migrated } from './reference-call.ts';
import type { RefOutput, RefSettlement } from './reference-types.ts';
import { type RefWindow, shownWindow } from './reference-windows.ts';

export interface Facts {
  settlements: RefSettlement[];
  outputs: RefOutput[];
  state: unknown;
  hold: { kind: string; code?: string; position?: number; attempts?: number };
  cursor: number;
  waiting: number[];
  lane: { position?: number; code?: string } | null;
  parked: number[];
  nextSender: number;
  completedAt: number | null;
  counts: Counts;
  watermark: number | null;
  open: Record<string, unknown>[];
  closed: Record<string, unknown>[];
}

/** Facts are compared as text: it prints, and it is quick. */
export function differences(expected: Facts, found: Facts): string[] {
  const names = Object.keys(expected) as (keyof Facts)[];
  return names.flatMap((name) => {
    const [a, b] = [expected[name], found[name]];
    if (text(a) === text(b)) return [];
    if (!Array.isArray(a) || !Array.isArray(b))
      return [`${name}: expected ${text(a)}, found ${text(b)}`];
    const at = [...a.keys(), a.length].find((i) => text(a[i]) !== text(b[i])) ?? a.length;
    const lengths = `${a.length} and ${b.length}`;
    return [`${name}[${at}] of ${lengths}: expected ${text(a[at])}, found ${text(b[at])}`];
  });
}

/** Fields in one order: what is compared is what they say. */
const text = (value: unknown): string =>
  JSON.stringify(value, (_, inner: unknown) => {
    if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)));
  }) ?? 'nothing';

const byStart = (a: Record<string, unknown>, b: Record<string, unknown>): number =>
  Number(a['start']) - Number(b['start']) || (String(a['window']) < String(b['window']) ? -1 : 1);

export function factsOfFold(fold: Fold): Facts {
  const { definition, windows } = fold;
  const kept = ({ writtenAt }: RefWindow): boolean =>
    fold.now - writtenAt < definition.retentionSeconds * 1000;
  const shown = (list: RefWindow[]) =>
    list.map((one) => shownWindow(definition, one)).sort(byStart);
  const closed = windows.closed.filter(kept);
  return {
    settlements: [...fold.settlements],
    outputs: [...fold.outputs],
    state: migrated(definition, fold.state, fold.stateVersion),
    hold: { ...fold.hold },
    cursor: fold.cursor,
    waiting: [...fold.waiting],
    lane: fold.lane && { ...fold.lane },
    parked: [...fold.parked],
    nextSender: fold.nextSender,
    completedAt: fold.completedAt,
    counts: { ...fold.counts },
    watermark: windows.watermark,
    open: shown(windows.open),
    closed: closed
      .map((one) => ({ ...shownWindow(definition, one), revision: one.revision }))
      .sort(byStart),
  };
}

/** The part of the facts that the stored progress holds. */
export function factsOfProgress(
  definition: ConvoyDefinition,
  progress: Progress,
): Omit<Facts, 'settlements' | 'outputs' | 'closed'> {
  const { hold, laneParked, taken } = progress;
  return {
    state: migrated(definition, progress.state, progress.stateVersion),
    hold: {
      kind: hold.kind,
      ...(hold.code !== undefined && { code: hold.code }),
      ...(hold.position !== undefined && { position: hold.position }),
      ...(hold.attempts !== undefined && { attempts: hold.attempts }),
    },
    cursor: progress.cursor,
    waiting: taken.map(({ position }) => position),
    lane: laneParked && {
      ...(laneParked.position !== undefined && { position: laneParked.position }),
      ...(laneParked.code !== undefined && { code: laneParked.code }),
    },
    parked: progress.parked,
    nextSender: progress.nextSender,
    completedAt: progress.completed?.position ?? null,
    counts: progress.counts,
    watermark: progress.watermark,
    open: progress.openWindows.map(openFacts).sort(byStart),
  };
}

function openFacts({ window, start, end, result, ...rest }: OpenWindow): Record<string, unknown> {
  const { count, sum, min, max, first, last } = rest;
  const values = { count, sum, min, max, first, last };
  return { window, start, end, ...values, ...(result !== undefined && { result }) };
}

export function closedFacts(closed: OpenWindow & { revision: number }): Record<string, unknown> {
  return { ...openFacts(closed), revision: closed.revision };
}

export function settlementFacts(one: {
  position: number;
  messageId: string;
  outcome: string;
  code?: string | null;
  attempts: number;
  healed?: boolean;
}): RefSettlement {
  return {
    position: one.position,
    id: one.messageId,
    outcome: one.outcome as RefSettlement['outcome'],
    ...(one.code != null && { code: one.code }),
    attempts: one.attempts,
    healed: one.healed === true,
  };
}

export function factsOfRun(
  definition: ConvoyDefinition,
  run: RunResult,
  causeOf: (output: RunResult['outputs'][number]) => string,
): Facts {
  return {
    ...factsOfProgress(definition, run.progress),
    settlements: run.settlements.map(settlementFacts),
    outputs: run.outputs.map((output) => ({ ...output, cause: causeOf(output) })),
    closed: run.closedWindows.map(closedFacts).sort(byStart),
  };
}
