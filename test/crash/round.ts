// One round: a stack under load, what happens to its processes and its disk, and the count.
//
// Owns:   the order of a round and its verdict.
// Leaves: what is to happen to mishaps.ts, every number of what was lost, doubled or out of order
//         to the observer, which knows nothing of all this.
//
// R1. A mishap is made to the process that plays the part at that moment, also to one that is still
//     starting or that is paused; mishaps overlap as they come.
// R2. Load goes on during every mishap: the last messages are held back until all are over.
// R3. A round is judged only after everything is well again; what is lost then is lost for good.
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { DatabaseSync } from 'node:sqlite';
import type { Verdict } from '../../infra/local/sample/judge.ts';
import { planSample } from '../../infra/local/sample/plan.ts';
import type { SamplePlan } from '../../infra/local/sample/plan.ts';
import { OutputQueue } from '../bench/outputs.ts';
import { recoveryOf } from '../bench/recovery.ts';
import { Api, runConvoy } from '../support/doors.ts';
import { ObserverProcess } from '../support/observer-process.ts';
import { until } from '../support/until.ts';
import { limitWrites, openDisk } from './disk.ts';
import type { Disk } from './disk.ts';
import { Fleet, folderOn } from './fleet.ts';
import { described, overAtMs } from './mishaps.ts';
import type { Mishap, RoundPlan } from './mishaps.ts';
import { SenderProcess } from './sender-process.ts';

export interface MishapSeen {
  mishap: Mishap;
  /** Messages accepted and not yet settled when it happened; unknown while nobody answers. */
  underWay: number | undefined;
  /** From its end until the next output came; undefined when the rest was out already. */
  recoveredMs: number | undefined;
}

export interface RoundResult {
  verdict: Verdict;
  /** `convoy verify` of all keys, in one line. */
  chain: string;
  mishaps: MishapSeen[];
  /** What is wrong; empty when every check holds. */
  failures: string[];
}

/** An intake that failed ten times tries again after 30 s [H10]. */
const quietLimitMs = 90_000;
const heldBackShare = 0.15;
const loadWithinMs = 400;
const restWithinMs = 60_000;
const endings = new Set<number | string>([0]);

export interface RoundOptions {
  plan: RoundPlan;
  mayMount: boolean;
  /** What happened when, for whoever reads a failure. */
  note(text: string): void;
}

export async function runRound({ plan, mayMount, note }: RoundOptions): Promise<RoundResult> {
  using disk = openDisk(mayMount);
  const { topology, seed, orders } = plan;
  await using fleet = await Fleet.start({ topology, folder: folderOn(disk.path, 'stack'), note });
  const stream = planSample({ run: 1, seed, orders });
  const planFile = join(disk.path, 'plan.json');
  writeFileSync(planFile, JSON.stringify(stream));
  const { url: http, address } = fleet;
  const { serviceBus } = address;
  await using observer = await ObserverProcess.start(stream, {
    ...{ http, serviceBus, folder: disk.path, quietLimitMs },
  });
  const spanMs = overAtMs(plan.mishaps) + 500;
  const heldBack = Math.ceil(stream.messages.length * heldBackShare);
  const perSecond = ((stream.messages.length - heldBack) * 1_000) / spanMs;
  await using sender = new SenderProcess({
    ...{ plan: stream, planFile, serviceBus, perSecond, heldBack, note },
  });
  const world: World = { fleet, disk, sender, note };
  const made = await Promise.all(plan.mishaps.map((mishap) => make(mishap, world)));
  note('all mishaps are over');
  await sender.finish();
  note('all is sent');
  const verdict = await observer.verdict(sender.sentAtMs);
  note('the observer has judged');
  await using outputs = new OutputQueue(serviceBus, `${stream.convoy}-out`);
  const deliveries = await outputs.collect();
  const dueAtMs = new Map(Object.entries(sender.sentAtMs));
  const mishaps = made.map(({ endedAt, ...seen }) => {
    const { firstDeliveryMs } = recoveryOf({ deliveries, dueAtMs, killedAt: endedAt });
    return { ...seen, recoveredMs: firstDeliveryMs ?? undefined };
  });
  const { chain, failures } = await settle({ fleet, stream, note });
  return { verdict, chain, mishaps, failures: [...countFaults(verdict), ...failures] };
}

interface World {
  fleet: Fleet;
  disk: Disk;
  sender: SenderProcess;
  note(text: string): void;
}

interface Made extends Omit<MishapSeen, 'recoveredMs'> {
  endedAt: number;
}

/** [R1] Waits for its moment, makes it, and undoes it when its time is over. */
async function make(mishap: Mishap, world: World): Promise<Made> {
  const { fleet, sender, note } = world;
  await pause(mishap.atMs);
  const pid = await until(
    () => (mishap.victim === 'sender' ? sender.pid : fleet.pidOf(mishap.victim)),
    (found) => found !== undefined || (mishap.victim === 'sender' && sender.isFinished),
  );
  if (pid === undefined) return { mishap, underWay: undefined, endedAt: Date.now() };
  const underWay = await loadUnder(fleet);
  note(`${described(mishap)}, process ${pid}, ${underWay ?? '?'} under way`);
  const undo = apply(mishap, pid, world);
  await pause(mishap.forMs);
  undo();
  if (mishap.forMs > 0) note(`${mishap.deed} of ${mishap.victim} is over`);
  return { mishap, underWay, endedAt: Date.now() };
}

/** Does it; what it returns undoes it. */
function apply({ deed, victim }: Mishap, pid: number, { fleet, disk }: World): () => void {
  switch (deed) {
    case 'kill':
      signal(pid, 'SIGKILL');
      return () => {};
    case 'end':
      signal(pid, 'SIGTERM');
      return () => {};
    case 'pause':
      signal(pid, 'SIGSTOP');
      return () => signal(pid, 'SIGCONT');
    case 'full':
      disk.fill();
      return () => disk.empty();
    case 'unwritable':
      limitWrites(pid, true);
      return () => void limitWrites(pid, false);
    case 'read-only': {
      const undo = disk.makeReadOnly(fleet.folderOf(victim));
      signal(pid, 'SIGKILL');
      return undo;
    }
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended in the meantime.
  }
}

/** Looks for a moment with messages under way, not for long. */
async function loadUnder(fleet: Fleet): Promise<number | undefined> {
  const giveUpAt = Date.now() + loadWithinMs;
  return until(
    () => backlog(fleet),
    (count) => count === undefined || count > 0 || Date.now() > giveUpAt,
  );
}

async function backlog({ url }: Fleet): Promise<number | undefined> {
  try {
    const response = await fetch(`${url}/api/stats`, { signal: AbortSignal.timeout(300) });
    const { messages } = (await response.json()) as { messages: { waiting: number } };
    return messages.waiting;
  } catch {
    return undefined;
  }
}

function countFaults({ violations, lost, doubled, failures }: Verdict): string[] {
  const counts = Object.entries({ violations, lost, doubled }).filter(([, count]) => count > 0);
  return [...counts.map(([name, count]) => `${name}: ${count}`), ...failures];
}

interface Settling {
  fleet: Fleet;
  stream: SamplePlan;
  note(text: string): void;
}

/** What must hold when nothing happens any more; ends the fleet. */
async function settle({ fleet, stream, note }: Settling) {
  const failures: string[] = [];
  const active = await restOf(fleet, stream.convoy);
  if (active.length > 0) failures.push(`not at rest: ${active.slice(0, 5).join(', ')}`);
  note('all keys are at rest');
  const verify = await runConvoy(['verify', stream.convoy, '--url', fleet.url, '--json']);
  if (verify.code !== 0) failures.push(`verify: ${verify.stdout}${verify.stderr}`);
  note('verified');
  const { endings: ended, left } = await fleet.end();
  note(`ended: ${JSON.stringify(ended)}`);
  for (const [name, how] of Object.entries(ended)) {
    if (!endings.has(how)) failures.push(`${name} ended with ${how}`);
  }
  if (left.length > 0) failures.push(`left running: ${left.join(', ')}`);
  for (const file of fleet.files()) failures.push(...fileFaults(file));
  return { chain: verify.stdout.trim(), failures };
}

/** The keys that are not idle when they had time enough to become it. */
async function restOf({ url }: Fleet, convoy: string): Promise<string[]> {
  const api = new Api(url);
  const giveUpAt = Date.now() + restWithinMs;
  const active = (): Promise<{ key: string; phase: string }[]> =>
    api.list(`/convoys?convoy=${convoy}&status=active`);
  const seen = await until(active, (list) => list.length === 0 || Date.now() > giveUpAt);
  return seen.map(({ key }) => key);
}

function fileFaults(file: string): string[] {
  if (!existsSync(file)) return [`${file} is gone`];
  const database = new DatabaseSync(file);
  const found = database.prepare('PRAGMA integrity_check').all();
  database.close();
  const faults = found.map((one) => String(one['integrity_check']));
  return faults.length === 1 && faults[0] === 'ok' ? [] : faults.map((one) => `${file}: ${one}`);
}
