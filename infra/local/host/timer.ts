// The timer trigger. Owns when it fires and what it remembers; the instants are schedule.ts.
// Source: functions-host.md 1.10 (TimerListener, StandardScheduleMonitor).
//
// T1 Runs of one function never overlap: the next due instant is reckoned when a run has ended.
// T2 A failing run does not stop the schedule.
// T3 With a monitor the next due instant is on disk before it is waited for, so that a host that
//    was down at that instant fires once, with isPastDue, when it comes back.
import { DatabaseSync } from 'node:sqlite';
import type { Clock, Timer } from '../../../shared/clock.ts';
import type { Say } from './console.ts';
import type { HostFunction } from './functions.ts';
import { isFrequent, parseSchedule, type Schedule } from './schedule.ts';
import { setting } from './settings.ts';

/** What a timer remembers between hosts, Unix milliseconds; `last` 0 = it has never fired. */
export interface TimerStatus {
  last: number;
  next: number;
  lastUpdated: number;
}

export interface TimerStore {
  read(name: string): TimerStatus | undefined;
  write(name: string, status: TimerStatus): void;
  close(): void;
}

/** The host's own file; on Azure these are blobs under azure-webjobs-hosts/timers. */
export function openTimerStore(file: string): TimerStore {
  const database = new DatabaseSync(file);
  database.exec(
    `PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
     CREATE TABLE IF NOT EXISTS timer_status (
       name TEXT PRIMARY KEY, last INTEGER NOT NULL, next INTEGER NOT NULL,
       last_updated INTEGER NOT NULL) WITHOUT ROWID`,
  );
  const select = database.prepare('SELECT * FROM timer_status WHERE name = ?');
  const upsert = database.prepare('REPLACE INTO timer_status VALUES (?, ?, ?, ?)');
  return {
    read(name) {
      const found = select.get(name);
      if (!found) return undefined;
      const { last, next, last_updated: lastUpdated } = found;
      return { last: Number(last), next: Number(next), lastUpdated: Number(lastUpdated) };
    },
    write: (name, { last, next, lastUpdated }) => void upsert.run(name, last, next, lastUpdated),
    close: () => database.close(),
  };
}

export interface TimerOptions {
  fn: HostFunction;
  store: TimerStore;
  clock: Clock;
  say: Say;
  /** Runs the handler with the trigger's JSON; rejects with what it threw. */
  fire: (json: string, reason: string) => Promise<void>;
}

export interface TimerListener {
  /** Fires no more; resolves when a run in progress has ended. */
  stop(): Promise<void>;
}

/** Starts a timer trigger; throws when its schedule is malformed. */
export function startTimer(options: TimerOptions): TimerListener {
  const { fn, store, clock, say } = options;
  const schedule = parseSchedule(
    String(fn.trigger['schedule'] ?? ''),
    setting('WEBSITE_TIME_ZONE') ?? 'UTC',
  );
  const isMonitored =
    String(fn.trigger['useMonitor'] ?? true).toLowerCase() === 'true' &&
    !isFrequent(schedule, clock.now());
  const name = `Host.Functions.${fn.name}`;
  let timer: Timer | undefined;
  let isStopped = false;
  let running: Promise<void> = Promise.resolve();

  const run = async (isPastDue: boolean): Promise<void> => {
    const firedAt = clock.now();
    const status = isMonitored ? store.read(name) : undefined;
    const json = timerJson(schedule, status, isPastDue);
    const reason = `Timer fired at ${dotnetOffset(firedAt)}`;
    await options.fire(json, reason).catch(() => {}); // [T2] the invoker has said it
    if (!isMonitored) return;
    const next = schedule.next(firedAt);
    try {
      store.write(name, { last: firedAt, next, lastUpdated: firedAt }); // [T3]
    } catch (error) {
      // A full disk: the schedule goes on, and a host that starts anew may fire once more.
      say('error', `Function '${fn.name}': its timer status was not saved: ${String(error)}`);
    }
  };
  const arm = (): void => {
    if (isStopped) return;
    const now = clock.now();
    timer = clock.after(schedule.next(now) - now, () => start(false));
  };
  const start = (isPastDue: boolean): void => {
    running = run(isPastDue).then(arm); // [T1]
  };

  const isPastDue = isMonitored && checkPastDue({ store, name, schedule, now: clock.now() });
  if (isPastDue) {
    say('information', `Function '${fn.name}' is past due on startup. Executing now.`);
    start(true);
  } else if (String(fn.trigger['runOnStartup']).toLowerCase() === 'true') {
    say('information', `Function '${fn.name}' is configured to run on startup. Executing now.`);
    start(false);
  } else arm();

  return {
    async stop() {
      isStopped = true;
      timer?.cancel();
      await running;
    },
  };
}

interface PastDueCheck {
  store: TimerStore;
  name: string;
  schedule: Schedule;
  now: number;
}

/** StandardScheduleMonitor.CheckPastDueAsync: writes a first status, notices a changed schedule. */
function checkPastDue({ store, name, schedule, now }: PastDueCheck): boolean {
  const status = store.read(name);
  if (!status) {
    store.write(name, { last: 0, next: schedule.next(now), lastUpdated: now });
    return false;
  }
  const from = status.last || status.lastUpdated;
  let expected = schedule.next(from);
  if (status.next === expected) return now > status.next;
  if (now > expected) expected = schedule.next(now);
  store.write(name, { last: 0, next: expected, lastUpdated: from });
  return false;
}

/** [FH 1.10] What the handler gets, before the library turns it to camel case. */
export function timerJson(
  schedule: Schedule | undefined,
  status: TimerStatus | undefined,
  isPastDue: boolean,
): string {
  const instant = (at: number): string =>
    at === 0 ? '0001-01-01T00:00:00+00:00' : dotnetOffset(at);
  return JSON.stringify({
    Schedule: { AdjustForDST: schedule?.isCron ?? true },
    ScheduleStatus: status
      ? {
          Last: instant(status.last),
          LastUpdated: instant(status.lastUpdated),
          Next: instant(status.next),
        }
      : null,
    IsPastDue: isPastDue,
  });
}

const dotnetOffset = (at: number): string =>
  new Date(at).toISOString().replace(/\.?0*Z$/, '+00:00');
