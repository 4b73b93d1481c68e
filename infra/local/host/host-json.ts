// host.json with its environment overrides [FH 6]: the limits read from it. What a value means to a
// trigger is the trigger's.
//
// J1 `AzureFunctionsJobHost__a__b` overrides host.json, case-insensitively.
// J2 What Azure would ignore silently (a typo under serviceBus or http) is named. A value of the
//    wrong form ends the start. A feature this host has not is named: under serviceBus it refuses
//    the Service Bus functions, elsewhere it is a warning and the rest runs.
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { HostLogLevel } from './console.ts';
import { HostFault } from './faults.ts';
import { parseJsonFile, section, type Json } from './json-file.ts';
import { isTrue, resolvePercents, type Warn } from './settings.ts';
import { parseTimeSpan } from './timespan.ts';

/** [FH 2.13] `extensions.serviceBus`; durations in milliseconds. */
export interface ServiceBusSettings {
  autoCompleteMessages: boolean;
  maxAutoLockRenewalMs: number;
  maxConcurrentCalls: number;
  maxConcurrentSessions: number;
  maxConcurrentCallsPerSession: number;
  /** Of cardinality many. */
  batch: { maxMessages: number; minMessages: number; maxWaitMs: number };
  sessionIdleTimeoutMs: number;
  tryTimeoutMs: number;
  retry: { mode: 'exponential' | 'fixed'; delayMs: number; maxDelayMs: number; maxRetries: number };
  /** What is asked for and this host has not: it refuses the functions of this trigger [J2]. */
  unsupported: readonly string[];
}

export interface DurableSettings {
  hubName?: string;
  maxActivities?: number;
  maxOrchestrators?: number;
  /** The section as it stands, for the hub. */
  section: Record<string, unknown>;
}

export interface HostSettings {
  /** Milliseconds; Infinity = unbounded. */
  functionTimeoutMs: number;
  functionTimeoutText: string;
  routePrefix: string;
  customHeaders: Record<string, string>;
  allowedFunctions: readonly string[] | undefined;
  durable: DurableSettings;
  serviceBus: ServiceBusSettings;
  /** Category to least level, as `logging.logLevel` has them. */
  logLevels: Readonly<Record<string, HostLogLevel | 'none'>>;
  http: { maxConcurrent: number; maxOutstanding: number };
}

const serviceBusKeys =
  'prefetchCount transportType webProxy autoCompleteMessages maxAutoLockRenewalDuration ' +
  'maxConcurrentCalls maxConcurrentSessions maxConcurrentCallsPerSession maxMessageBatchSize ' +
  'minMessageBatchSize maxBatchWaitTime sessionIdleTimeout enableCrossEntityTransactions ' +
  'clientRetryOptions';
const httpKeys =
  'routePrefix maxConcurrentRequests maxOutstandingRequests dynamicThrottlesEnabled hsts ' +
  'customHeaders';
const functionTimeoutDefault = '00:30:00'; // Flex Consumption [FH 2.14]

/** Reads host.json with its overrides; throws naming every fault, warns about unknown keys. */
export function readHostSettings(appDir: string, warn: Warn): HostSettings {
  const path = join(appDir, 'host.json');
  if (!existsSync(path)) throw new HostFault(`${path} is missing: it marks a Functions app`);
  const file = parseJsonFile(path);
  if (Object.keys(file).length === 0) file['version'] = '2.0';
  if (file['version'] === undefined) {
    throw new HostFault(
      "The host.json file is missing the required 'version' property. " +
        'See https://aka.ms/functions-hostjson for steps to migrate the configuration file.',
    );
  }
  if (file['version'] !== '2.0') {
    throw new HostFault(
      `'${String(file['version'])}' is an invalid value for host.json 'version' property. ` +
        "We recommend you set the 'version' property to '2.0'.",
    );
  }
  applyOverrides(file);
  const faults: string[] = [];
  const extensions = section(file, 'extensions');
  const http = section(extensions, 'http');
  const durable = section(extensions, 'durableTask');
  warnUnknown(http, { where: 'extensions.http', known: httpKeys, warn });
  warnOthers(file, warn);
  if (section(file, 'extensionBundle')['id'] === undefined) {
    warn('host.json: extensionBundle.id is missing; Azure would load no Service Bus extension');
  }
  const timeout = String(file['functionTimeout'] ?? functionTimeoutDefault);
  const timeoutMs = timeout === '-1' ? Infinity : parseTimeSpan(timeout);
  if (timeoutMs === undefined || timeoutMs <= 0) faults.push(`functionTimeout '${timeout}'`);
  const settings: HostSettings = {
    functionTimeoutMs: timeoutMs ?? 0,
    functionTimeoutText: timeout,
    routePrefix: String(http['routePrefix'] ?? 'api').replace(/^\/+|(?<!\/)\/+$/g, ''),
    customHeaders: section(http, 'customHeaders') as Record<string, string>,
    allowedFunctions: Array.isArray(file['functions']) ? file['functions'].map(String) : undefined,
    durable: durableSettings(durable, faults),
    serviceBus: serviceBusSettings(section(extensions, 'serviceBus'), { faults, warn }),
    logLevels: logLevels(section(section(file, 'logging'), 'logLevel'), warn),
    http: {
      maxConcurrent: limitOf(http, 'maxConcurrentRequests', faults),
      maxOutstanding: limitOf(http, 'maxOutstandingRequests', faults),
    },
  };
  if (faults.length > 0) throw new HostFault(`host.json: ${faults.join('; ')}`);
  return settings;
}

function durableSettings(durable: Json, faults: string[]): DurableSettings {
  const whole = (key: string): number | undefined =>
    readWhole(durable, { key, fallback: undefined, where: 'extensions.durableTask', faults });
  const hubName = durable['hubName'];
  const maxActivities = whole('maxConcurrentActivityFunctions');
  const maxOrchestrators = whole('maxConcurrentOrchestratorFunctions');
  return {
    section: durable,
    ...(hubName === undefined ? {} : { hubName: resolvePercents(String(hubName)) }),
    ...(maxActivities === undefined ? {} : { maxActivities }),
    ...(maxOrchestrators === undefined ? {} : { maxOrchestrators }),
  };
}

interface Reading {
  faults: string[];
  warn: Warn;
}

function serviceBusSettings(json: Json, { faults, warn }: Reading): ServiceBusSettings {
  const where = 'extensions.serviceBus';
  warnUnknown(json, { where, known: serviceBusKeys, warn });
  const retry = section(json, 'clientRetryOptions');
  const whole = (from: Json, key: string, fallback: number): number =>
    readWhole(from, { key, fallback, where, faults }) ?? fallback;
  const span = (from: Json, key: string, fallback: number): number =>
    readSpan(from, { key, fallback, where, faults });
  const tryTimeoutMs = span(retry, 'tryTimeout', 60_000);
  const renewal = json['maxAutoLockRenewalDuration'];
  if (Number(json['prefetchCount'] ?? 0) !== 0) {
    warn(`host.json: ${where}.prefetchCount has no effect here: nothing is fetched ahead`);
  }
  return {
    autoCompleteMessages: isTrue(json['autoCompleteMessages'] ?? true),
    // [FH 2.5 (6)] infinite is written -00:00:00.0010000
    maxAutoLockRenewalMs:
      renewal === '-00:00:00.0010000'
        ? Infinity
        : span(json, 'maxAutoLockRenewalDuration', 300_000),
    maxConcurrentCalls: whole(json, 'maxConcurrentCalls', 16 * availableParallelism()),
    maxConcurrentSessions: whole(json, 'maxConcurrentSessions', 8),
    maxConcurrentCallsPerSession: whole(json, 'maxConcurrentCallsPerSession', 1),
    batch: {
      maxMessages: whole(json, 'maxMessageBatchSize', 1_000),
      minMessages: whole(json, 'minMessageBatchSize', 1),
      maxWaitMs: span(json, 'maxBatchWaitTime', 30_000),
    },
    unsupported: unsupportedOf(json),
    // [FH 2.13] unset = the try time-out
    sessionIdleTimeoutMs: span(json, 'sessionIdleTimeout', tryTimeoutMs),
    tryTimeoutMs,
    retry: {
      mode: retry['mode'] === 'fixed' ? 'fixed' : 'exponential',
      delayMs: span(retry, 'delay', 800),
      maxDelayMs: span(retry, 'maxDelay', 60_000),
      maxRetries: whole(retry, 'maxRetries', 3),
    },
  };
}

function unsupportedOf(json: Json): string[] {
  const isAsked: Record<string, (value: unknown) => boolean> = {
    transportType: (value) => String(value).toLowerCase() !== 'amqptcp',
    webProxy: (value) => value !== null && value !== '',
    enableCrossEntityTransactions: isTrue,
  };
  return Object.entries(isAsked).flatMap(([key, asked]) => {
    const value = json[key];
    const isHere = value === undefined || !asked(value);
    return isHere ? [] : [`extensions.serviceBus.${key} = ${JSON.stringify(value)}`];
  });
}

function warnOthers(file: Json, warn: Warn): void {
  const http = section(section(file, 'extensions'), 'http');
  const dynamic = section(file, 'concurrency')['dynamicConcurrencyEnabled'];
  const asked = {
    'concurrency.dynamicConcurrencyEnabled: the static limits hold': isTrue(dynamic),
    customHandler: file['customHandler'] !== undefined,
    'retry: functions name their own': file['retry'] !== undefined,
    'extensions.http.hsts': http['hsts'] !== undefined,
    'extensions.http.dynamicThrottlesEnabled': isTrue(http['dynamicThrottlesEnabled']),
  };
  for (const [what, isAsked] of Object.entries(asked)) {
    if (isAsked) warn(`host.json: not supported by the local host: ${what}`);
  }
}

/** [FH 1.8] -1 = no limit. */
function limitOf(http: Json, key: string, faults: string[]): number {
  if (Number(http[key] ?? -1) === -1) return Infinity;
  return readWhole(http, { key, fallback: undefined, where: 'extensions.http', faults }) ?? 0;
}

const levelNames: Record<string, HostLogLevel | 'none'> = {
  trace: 'debug',
  debug: 'debug',
  information: 'information',
  warning: 'warning',
  error: 'error',
  critical: 'error',
  none: 'none',
};

function logLevels(json: Json, warn: Warn): HostSettings['logLevels'] {
  const levels: Record<string, HostLogLevel | 'none'> = {};
  for (const [category, value] of Object.entries(json)) {
    const level = levelNames[String(value).toLowerCase()];
    if (level) levels[category] = level;
    else warn(`host.json: logging.logLevel.${category} is ${JSON.stringify(value)}, no log level`);
  }
  return levels;
}

function applyOverrides(file: Json): void {
  const prefix = /^AzureFunctionsJobHost(?:__|:)(.+)$/i;
  for (const [name, value] of Object.entries(process.env)) {
    const path = prefix.exec(name)?.[1]?.split(/__|:/);
    if (!path || value === undefined) continue;
    const last = path.pop() ?? '';
    let at = file;
    for (const part of path) {
      const key = keyLike(at, part);
      at[key] = section(at, key);
      at = at[key] as Json;
    }
    at[keyLike(at, last)] = value;
  }
}

const keyLike = (from: Json, part: string): string =>
  Object.keys(from).find((key) => key.toLowerCase() === part.toLowerCase()) ?? part;

function warnUnknown(json: Json, at: { where: string; known: string; warn: Warn }): void {
  const known = at.known.split(' ');
  for (const key of Object.keys(json)) {
    if (!known.includes(key)) {
      at.warn(`host.json: unknown key ${at.where}.${key} is ignored (known: ${known.join(', ')})`);
    }
  }
}

interface Wanted<T> {
  key: string;
  fallback: T;
  where: string;
  faults: string[];
}

function readWhole(from: Json, wanted: Wanted<number | undefined>): number | undefined {
  const value = from[wanted.key];
  if (value === undefined) return wanted.fallback;
  const count = Number(value);
  if (Number.isInteger(count) && count >= (wanted.key === 'maxRetries' ? 0 : 1)) return count;
  wanted.faults.push(
    `${wanted.where}.${wanted.key} is ${JSON.stringify(value)}, not a whole number`,
  );
  return undefined;
}

function readSpan(from: Json, wanted: Wanted<number>): number {
  const value = from[wanted.key];
  if (value === undefined) return wanted.fallback;
  const ms = parseTimeSpan(String(value));
  if (ms !== undefined && ms >= 0) return ms;
  wanted.faults.push(`${wanted.where}.${wanted.key} is ${JSON.stringify(value)}, not hh:mm:ss`);
  return wanted.fallback;
}
