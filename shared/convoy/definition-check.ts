// PURE. Everything that can be wrong with a definition, each fault with what to change. A user in
// JavaScript has no types, so every field is checked.
import assert from 'node:assert/strict';
import { type Shape, shapeOf, shown } from './definition-shape.ts';
import { isNestedDeeper, stateLevelsMax } from './json.ts';
import { type LanePlan, laneFaultsOf, queuesOf } from './lane-plan.ts';
import type { WindowDefinition } from './window-definition.ts';

const known = new Set(
  (
    'name queue schema initialState effect effectSeconds apply retry onPoison order gap ' +
    'afterComplete windows version upcast migrate lingerSeconds retentionSeconds dedupSeconds ' +
    'lanes merge laneRefreshSeconds'
  ).split(' '),
);
const knownOfWindow = new Set(
  (
    'name kind seconds everySeconds gapSeconds calendar value reduce graceSeconds quietSeconds ' +
    'late earlyEvery rollUp'
  ).split(' '),
);
const daySeconds = 86_400;
const yearSeconds = 366 * daySeconds;
/** The largest time-to-live that Cosmos DB takes. */
const secondsMax = 2_147_483_647;
/** DESIGN §5. */
const windowsPerEventMax = 64;

type Options = Shape['options'];
type Fault = (holds: boolean, text: string) => void;

/** The definition as plain fields, and everything that is wrong with it. Never throws. */
export function checked(given: unknown): Shape {
  const shape = shapeOf(given, { options: known, window: knownOfWindow });
  return { ...shape, faults: [...shape.faults, ...faultsOf(shape.options)] };
}

function faultsOf(options: Options): string[] {
  const faults: string[] = [];
  const fault: Fault = (holds, text) => void (holds || faults.push(text));
  for (const field of Object.keys(options)) {
    if (!known.has(field)) faults.push(`${field}: unknown; allowed: ${[...known].join(', ')}`);
  }
  checkShape(options, fault);
  checkPolicies(options, fault);
  checkTimes(options, fault);
  checkVersions(options, fault);
  faults.push(...laneFaultsOf(options));
  if (options.windows !== undefined && !Array.isArray(options.windows))
    faults.push('windows: must be a list');
  else faults.push(...windowFaultsOf(options.windows ?? []));
  return faults;
}

/** What is wrong with a list of checked definitions, taken together. */
export function registryFaultsOf(convoys: unknown): string[] {
  if (!Array.isArray(convoys)) return ['convoys: must be a list'];
  const faults: string[] = [];
  // Service Bus tells names of queues apart without regard to case.
  const owners = new Map<string, string>();
  const claim = (queue: string, owner: string): void => {
    const other = owners.get(queue.toLowerCase());
    if (other !== undefined) faults.push(`${owner}: '${queue}' is ${other} already`);
    else owners.set(queue.toLowerCase(), owner);
  };
  const names = new Set<string>();
  convoys.forEach((convoy: unknown, at) => {
    if (!isChecked(convoy)) {
      faults.push(`convoys[${at}]: must be what defineConvoy returned`);
      return;
    }
    const { name } = convoy;
    if (names.has(name)) faults.push(`convoys[${at}]: the name '${name}' is used twice`);
    else {
      names.add(name);
      for (const queue of queuesOf(convoy)) claim(queue, `the queue of '${name}'`);
      claim(`${name}-out`, `the output queue of '${name}'`);
    }
  });
  return faults;
}

function isChecked(convoy: unknown): convoy is { name: string; queue: string; lanes: LanePlan } {
  if (typeof convoy !== 'object' || convoy === null) return false;
  const { name, queue, apply } = convoy as Record<string, unknown>;
  return typeof name === 'string' && typeof queue === 'string' && typeof apply === 'function';
}

function checkShape(options: Options, fault: Fault): void {
  fault(
    typeof options.name === 'string' && isName(options.name),
    `name: '${shown(options.name)}' must match [a-z][a-z0-9-]{0,29}`,
  );
  fault(
    options.queue === undefined || (typeof options.queue === 'string' && options.queue.length > 0),
    'queue: must be the name of a queue',
  );
  fault(isSchema(options.schema), 'schema: must be a Standard Schema (zod, valibot, arktype …)');
  fault(typeof options.apply === 'function', 'apply: must be a function');
  fault(
    options.initialState !== undefined && isJson(options.initialState),
    'initialState: must be a JSON value',
  );
  fault(
    options.effect === undefined || typeof options.effect === 'function',
    'effect: must be an async function',
  );
  fault(
    options.effectSeconds === undefined || options.effect !== undefined,
    'effectSeconds: there is no effect; leave it out',
  );
}

function checkPolicies(options: Options, fault: Fault): void {
  fault(isOneOf(options.onPoison, ['block', 'park', 'park-lane']), poison(options.onPoison));
  fault(
    isOneOf(options.order, ['broker', 'sender']),
    `order: '${shown(options.order)}' must be 'broker' or 'sender'`,
  );
  fault(
    isOneOf(options.afterComplete, ['reopen', 'park', 'reject']),
    `afterComplete: '${shown(options.afterComplete)}' must be 'reopen', 'park' or 'reject'`,
  );
  fault(
    options.gap === undefined || options.order === 'sender',
    "gap: only with order: 'sender'; leave it out",
  );
  fault(
    isOneOf(options.gap?.onTimeout, ['block', 'continue']),
    `gap.onTimeout: '${shown(options.gap?.onTimeout)}' must be 'block' or 'continue'`,
  );
  fault(isWithin(options.gap?.waitSeconds, 0, daySeconds), 'gap.waitSeconds: must be 0 to 86400');
  fault(isWholeWithin(options.gap?.messagesMax, 1, 5000), 'gap.messagesMax: must be 1 to 5000');
  fault(isWholeWithin(options.retry?.attempts, 1, 100), 'retry.attempts: must be 1 to 100');
  fault(
    isWithin(options.retry?.firstDelaySeconds, 0, daySeconds),
    'retry.firstDelaySeconds: 0 to 86400',
  );
  fault(isWithin(options.retry?.factor, 1, 100), 'retry.factor: must be 1 to 100');
  fault(
    isWithin(options.retry?.maxDelaySeconds, 0, daySeconds),
    'retry.maxDelaySeconds: 0 to 86400',
  );
}

const poison = (given: unknown): string =>
  `onPoison: '${shown(given)}' must be 'block', 'park' or 'park-lane'`;

function checkTimes(options: Options, fault: Fault): void {
  fault(isWithin(options.effectSeconds, 1, 300), 'effectSeconds: must be 1 to 300');
  fault(isWithin(options.lingerSeconds, 0, 3600), 'lingerSeconds: must be 0 to 3600');
  fault(
    isWholeWithin(options.retentionSeconds, 60, secondsMax),
    'retentionSeconds: must be at least 60, in whole seconds',
  );
  fault(
    isWholeWithin(options.dedupSeconds, 3600, secondsMax),
    'dedupSeconds: must be at least 3600, in whole seconds (H12)',
  );
}

function checkVersions(options: Options, fault: Fault): void {
  const version = options.version ?? 1;
  const isVersion = Number.isSafeInteger(version) && version >= 1 && version <= 1000;
  fault(isVersion, 'version: must be a whole number from 1 to 1000');
  if (!isVersion) return;
  for (const [field, steps] of [
    ['upcast', options.upcast ?? {}],
    ['migrate', options.migrate ?? {}],
  ] as const) {
    for (const [from, step] of Object.entries(steps)) {
      const isStep = Number.isSafeInteger(Number(from)) && Number(from) >= 1;
      fault(
        isStep && Number(from) < version,
        `${field}.${from}: must be a version below ${version}, the version of the definition`,
      );
      fault(typeof step === 'function', `${field}.${from}: must be a function`);
    }
  }
  for (let from = 1; from < version; from += 1) {
    fault(
      options.upcast?.[from] !== undefined,
      `upcast.${from}: missing; messages of version ${from} may still be under way`,
    );
  }
}

type Window = WindowDefinition<unknown, unknown>;

function windowFaultsOf(windows: readonly Window[]): string[] {
  const faults: string[] = [];
  const names = new Set<string>();
  for (const window of windows) {
    const fault: Fault = (holds, text) =>
      void (holds || faults.push(`windows '${shown(window.name)}': ${text}`));
    for (const field of Object.keys(window)) {
      fault(
        knownOfWindow.has(field),
        `${field}: unknown; allowed: ${[...knownOfWindow].join(', ')}`,
      );
    }
    fault(
      typeof window.name === 'string' && isName(window.name),
      'name must match [a-z][a-z0-9-]{0,29}',
    );
    fault(!names.has(window.name), 'the name is used twice');
    names.add(window.name);
    checkKind(window, fault);
    checkWindow(window, fault);
  }
  return faults;
}

function checkKind(window: Window, fault: Fault): void {
  const { kind, calendar } = window;
  fault(
    isOneOf(kind, ['tumbling', 'hopping', 'session']) && kind !== undefined,
    `kind '${shown(kind)}' must be 'tumbling', 'hopping' or 'session'`,
  );
  if (kind === 'session') {
    fault(
      isWithin(window.gapSeconds ?? NaN, 1, yearSeconds),
      'gapSeconds: a session needs 1 second to a year',
    );
    fault(window.seconds === undefined, 'seconds: not for a session, whose length is its own');
    fault(window.rollUp === undefined, 'rollUp: session windows do not roll up');
    fault(
      window.reduce === undefined || typeof window.reduce.merge === 'function',
      'reduce.merge: a session needs it, because two sessions can become one',
    );
  } else if (calendar === undefined) {
    fault(isWithin(window.seconds ?? NaN, 1, yearSeconds), 'seconds: 1 to a year');
  }
  fault(window.gapSeconds === undefined || kind === 'session', 'gapSeconds: only for a session');
  fault(
    window.everySeconds === undefined || kind === 'hopping',
    'everySeconds: only for a hopping window',
  );
  if (kind === 'hopping') {
    const every = window.everySeconds ?? NaN;
    const seconds = window.seconds ?? NaN;
    fault(every >= 1 && every <= seconds, 'everySeconds: 1 to the length');
    fault(
      !(Math.ceil(seconds / every) > windowsPerEventMax),
      `everySeconds: at most ${windowsPerEventMax} windows per event; make it longer`,
    );
  }
  checkCalendar(window, fault);
}

function checkCalendar({ kind, calendar, seconds }: Window, fault: Fault): void {
  if (calendar === undefined) return;
  fault(kind === 'tumbling', 'calendar: only for a tumbling window');
  fault(seconds === undefined, 'seconds: the calendar says how long; leave it out');
  fault(
    isTimeZone(calendar.timeZone),
    `calendar.timeZone: '${shown(calendar.timeZone)}' must be an IANA time zone, as Europe/Berlin`,
  );
  fault(isOneOf(calendar.unit, ['day', 'week', 'month']), "calendar.unit: 'day', 'week', 'month'");
  fault(
    calendar.startsAt === undefined || isLocalTime(calendar.startsAt),
    'calendar.startsAt: a local time HH:MM',
  );
}

function checkWindow(window: Window, fault: Fault): void {
  fault(typeof window.value === 'function', 'value must be a function');
  fault(isWithin(window.graceSeconds, 0, yearSeconds), 'graceSeconds 0 to a year');
  fault(isWithin(window.quietSeconds, 1, yearSeconds), 'quietSeconds 1 to a year');
  fault(isWholeWithin(window.earlyEvery, 1, 1_000_000), 'earlyEvery: 1 to a million messages');
  fault(
    isOneOf(window.late, ['amend', 'drop', 'next', 'park']),
    `late '${shown(window.late)}' must be 'amend', 'drop', 'next' or 'park'`,
  );
  fault(isWithin(window.rollUp?.delaySeconds, 0, yearSeconds), 'rollUp.delaySeconds: 0 to a year');
  if (window.reduce === undefined) return;
  fault(typeof window.reduce.add === 'function', 'reduce.add: must be a function');
  fault(isJson(window.reduce.initial), 'reduce.initial: must be a JSON value');
}

const isLocalTime = (text: unknown): boolean =>
  typeof text === 'string' && /^([01]\d|2[0-3]):[0-5]\d$/.test(text);

function isSchema(schema: Options['schema']): boolean {
  try {
    return typeof schema?.['~standard']?.validate === 'function';
  } catch {
    return false;
  }
}

const isName = (text: string): boolean => /^[a-z][a-z0-9-]{0,29}$/.test(text);

function isOneOf(value: unknown, allowed: readonly string[]): boolean {
  return value === undefined || (typeof value === 'string' && allowed.includes(value));
}

function isWithin(value: unknown, min: number, max: number): boolean {
  return value === undefined || (typeof value === 'number' && value >= min && value <= max);
}

function isWholeWithin(value: unknown, min: number, max: number): boolean {
  return isWithin(value, min, max) && (value === undefined || Number.isInteger(value));
}

function isTimeZone(name: unknown): boolean {
  try {
    return typeof name === 'string' && Boolean(new Intl.DateTimeFormat('en', { timeZone: name }));
  } catch {
    return false;
  }
}

/** A value that survives being stored as JSON unchanged: no Date, no undefined field, no NaN. */
function isJson(value: unknown): boolean {
  try {
    const text = JSON.stringify(value);
    assert.deepStrictEqual(JSON.parse(text), value);
    return !isNestedDeeper(text, stateLevelsMax);
  } catch {
    return false;
  }
}
