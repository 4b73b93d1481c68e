// [H9] The sweeper: the liveness of everything that a dead process, a lost wake, a terminated
// instance or a passed due time left behind. It looks at both items of a key, reopens under
// If-Match on both with a new epoch, then starts that epoch (H2). It asks an index for candidates,
// never all convoys, and is correct however often, late or concurrently it runs: a wrong alarm
// costs one epoch.
import type { SweepLimits } from '../convoy/handoff.ts';
import { assertHandoff, reopen, sweepReason } from '../convoy/handoff.ts';
import { reasonOf } from '../errors.ts';
import { hasLanes } from '../lanes.ts';
import type { GateItem } from '../store/items.ts';
import type { InstantRange } from '../store/store.ts';
import { ensureStarted } from './ensure-started.ts';
import { openIfDrained } from './lane-fence.ts';
import { announceLanes } from './layout.ts';
import { gateItem, progressItem, readProgress } from './placed.ts';
import type { Engine } from './ports.ts';

export interface SweepReport {
  looked: number;
  reopened: number;
  failed: number;
}

const pageSize = 100;
const marginMs = 120_000; // H9: "+ 2 min"

/** One sweep; bounded by `deadlineAt`, the rest is the next tick's. */
export async function sweep(engine: Engine, deadlineAt: number): Promise<SweepReport> {
  const report: SweepReport = { looked: 0, reopened: 0, failed: 0 };
  const now = engine.clock.now();
  const lingers = [...engine.definitions.values()].map((d) => d.lingerSeconds * 1000);
  const silentMs = Math.min(engine.settings.functionTimeoutSeconds * 1000, ...lingers) + marginMs;
  const { store } = engine;
  const unwritten = (range: InstantRange) => store.gatesUnwritten(range, pageSize);
  const due = (range: InstantRange) => store.gatesDue(range, pageSize);
  await sweepPages(engine, {
    report,
    deadlineAt,
    upTo: now - silentMs,
    page: unwritten,
    at: (g) => g.writtenAt,
  });
  const byDue = { report, deadlineAt, upTo: now, at: (gate: GateItem) => gate.dueAt ?? 0 };
  await sweepPages(engine, { ...byDue, page: due });
  await announce(engine);
  const heldDue = (range: InstantRange) => store.gatesHeldDue(range, pageSize);
  const open = async (gate: GateItem) => (await openIfDrained(engine, gate)) === 'opened';
  await sweepPages(engine, { ...byDue, page: heldDue, repair: open });
  return report;
}

/** Lanes that only the definition has yet; a contradiction is said with every tick. */
async function announce(engine: Engine): Promise<void> {
  for (const definition of engine.definitions.values()) {
    if (!hasLanes(definition.lanes)) continue;
    await announceLanes(engine, definition).catch((error: unknown) => {
      engine.log.warn('lanes not announced', { convoy: definition.name, reason: reasonOf(error) });
    });
  }
}

interface Pages {
  report: SweepReport;
  deadlineAt: number;
  upTo: number;
  page: (range: InstantRange) => Promise<GateItem[]>;
  at: (gate: GateItem) => number;
  /** True when it changed the key. Default: reopens it where H9 says so. */
  repair?: (gate: GateItem) => Promise<boolean>;
}

async function sweepPages(engine: Engine, pages: Pages): Promise<void> {
  const { report, repair = (gate) => sweepKey(engine, gate) } = pages;
  let after = -1;
  while (engine.clock.now() < pages.deadlineAt) {
    const gates = await pages.page({ after, upTo: pages.upTo });
    for (const gate of gates) {
      report.looked += 1;
      try {
        if (await repair(gate)) report.reopened += 1;
      } catch (error) {
        report.failed += 1; // the next tick repeats
        const { convoyId } = gate;
        engine.log.warn('sweep of a key failed', { convoyId, reason: reasonOf(error) });
      }
    }
    const last = gates.at(-1);
    if (gates.length < pageSize || !last) return;
    after = pages.at(last);
  }
}

/** Reopens one key if it needs it; false when it does not, or when somebody was faster (412). */
async function sweepKey(engine: Engine, candidate: GateItem): Promise<boolean> {
  const { store, clock } = engine;
  const { convoyId, convoy, key } = candidate;
  const gate = await store.readGate(convoyId);
  const progress = await readProgress(store, convoyId);
  if (!gate || !progress) return false;
  const at = clock.now();
  const reason = sweepReason(gate.item, progress.item, { at, ...limitsOf(engine, convoy) });
  if (reason === undefined) return false;
  const after = reopen(gate.item, progress.item, { at });
  assertHandoff(after.gate, after.progress);
  const place = { convoy, key };
  const result = await store.batch(convoyId, [
    { kind: 'replace', item: gateItem(place, after.gate), ifMatch: gate.etag },
    { kind: 'replace', item: progressItem(place, after.progress), ifMatch: progress.etag },
  ]);
  if (!result.applied) return false;
  engine.log.info('swept', { convoyId, reason, epoch: after.gate.epoch });
  await ensureStarted(engine, place, { gate: after.gate, wake: false, duplicate: false }); // H2
  return true;
}

function limitsOf(engine: Engine, convoy: string): SweepLimits {
  const lingerSeconds = engine.definitions.get(convoy)?.lingerSeconds ?? 5;
  return {
    backlogSilenceMs: engine.settings.functionTimeoutSeconds * 1000 + marginMs,
    lingerSilenceMs: lingerSeconds * 1000 + marginMs,
  };
}
