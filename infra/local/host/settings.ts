// What configures a host: host.json with its environment overrides, local.settings.json, and the
// settings handed in. Owns precedence, `%NAME%` and the limits read from host.json; what a value
// means to a trigger is the trigger's.
//
// S1 Settings handed in win over the environment, a non-empty environment over local.settings.json
//    [FH 5.2]; all of them stand in process.env while the host is open, and leave it at the end.
// S2 `AzureFunctionsJobHost__a__b` overrides host.json, case-insensitively [FH 6].
// S3 What Azure would ignore silently (a typo under serviceBus or http) is named [FH 6];
//    what Azure would do and this host cannot is refused by name at start-up.
import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseTimeSpan } from './timespan.ts';

type Json = Record<string, unknown>;
export type Warn = (message: string) => void;

/** [FH 2.13] The part of `extensions.serviceBus` that applies to cardinality one. */
export interface ServiceBusSettings {
  autoCompleteMessages: boolean;
  maxAutoLockRenewalMs: number;
  maxConcurrentCalls: number;
  maxConcurrentSessions: number;
  sessionIdleTimeoutMs: number;
  tryTimeoutMs: number;
  retry: { mode: 'exponential' | 'fixed'; delayMs: number; maxDelayMs: number; maxRetries: number };
}

export interface HostSettings {
  /** Milliseconds; Infinity = unbounded. */
  functionTimeoutMs: number;
  functionTimeoutText: string;
  routePrefix: string;
  customHeaders: Record<string, string>;
  allowedFunctions: readonly string[] | undefined;
  durable: { hubName?: string; maxActivities?: number; maxOrchestrators?: number };
  serviceBus: ServiceBusSettings;
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

/** Puts the settings of a host into process.env; the returned function takes them out again. */
export function applyEnvironment(
  appDir: string,
  own: Record<string, string>,
  warn: Warn,
): () => void {
  const before = new Map<string, string | undefined>();
  const set = (name: string, value: string): void => {
    if (!before.has(name)) before.set(name, process.env[name]);
    process.env[name] = value;
  };
  for (const [name, value] of Object.entries(localSettings(appDir, warn))) {
    if (name in own) continue;
    if (process.env[name]) {
      warn(
        `Skipping '${name}' from local settings as it's already defined ` +
          'in current environment variables.',
      );
    } else set(name, value);
  }
  set('AZURE_FUNCTIONS_ENVIRONMENT', 'Development');
  set('AzureWebJobsScriptRoot', appDir);
  for (const [name, value] of Object.entries(own)) set(name, value);
  return () => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  };
}

/** [FH 5.2] The flat values of local.settings.json; nothing when there is no such file. */
function localSettings(appDir: string, warn: Warn): Record<string, string> {
  const path = join(appDir, 'local.settings.json');
  if (!existsSync(path)) return {};
  const file = parseJsonFile(path);
  // a missing IsEncrypted means true, and then the values cannot be read [FH 5.2]
  if (file['IsEncrypted'] !== false) {
    warn(
      `${path}: IsEncrypted is not false, so its values cannot be read; write "IsEncrypted": false`,
    );
    return {};
  }
  const values: Record<string, string> = {};
  for (const [name, value] of Object.entries(section(file, 'Values'))) {
    if (typeof value === 'object' && value !== null) {
      warn(`${path}: the value of '${name}' is nested; write it flat, as ${name}__part`);
    } else if (value !== null && value !== undefined) values[name] = String(value);
  }
  for (const [name, value] of Object.entries(section(file, 'ConnectionStrings'))) {
    const text =
      typeof value === 'string' ? value : section({ value }, 'value')['ConnectionString'];
    if (typeof text === 'string') values[`ConnectionStrings:${name}`] = text;
  }
  return values;
}

/** Reads host.json with its overrides; throws naming every fault, warns about unknown keys. */
export function readHostSettings(appDir: string, warn: Warn): HostSettings {
  const path = join(appDir, 'host.json');
  if (!existsSync(path)) throw new Error(`${path} is missing: it marks a Functions app`);
  const file = parseJsonFile(path);
  if (Object.keys(file).length === 0) file['version'] = '2.0';
  if (file['version'] === undefined) {
    throw new Error(
      "The host.json file is missing the required 'version' property. " +
        'See https://aka.ms/functions-hostjson for steps to migrate the configuration file.',
    );
  }
  if (file['version'] !== '2.0') {
    throw new Error(
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
  refuseOthers(file, faults);
  for (const key of ['maxConcurrentRequests', 'maxOutstandingRequests', 'hsts']) {
    if (http[key] !== undefined) warn(`host.json: extensions.http.${key} has no effect here`);
  }
  if (section(file, 'extensionBundle')['id'] === undefined) {
    warn('host.json: extensionBundle.id is missing; Azure would load no Service Bus extension');
  }
  const timeout = String(file['functionTimeout'] ?? functionTimeoutDefault);
  const timeoutMs = timeout === '-1' ? Infinity : parseTimeSpan(timeout);
  if (timeoutMs === undefined || timeoutMs <= 0) faults.push(`functionTimeout '${timeout}'`);
  const settings: HostSettings = {
    functionTimeoutMs: timeoutMs ?? 0,
    functionTimeoutText: timeout,
    routePrefix: String(http['routePrefix'] ?? 'api').replace(/^\/+|\/+$/g, ''),
    customHeaders: section(http, 'customHeaders') as Record<string, string>,
    allowedFunctions: Array.isArray(file['functions']) ? file['functions'].map(String) : undefined,
    durable: durableSettings(durable, faults),
    serviceBus: serviceBusSettings(section(extensions, 'serviceBus'), { faults, warn }),
  };
  if (faults.length > 0) throw new Error(`host.json: ${faults.join('; ')}`);
  return settings;
}

function durableSettings(durable: Json, faults: string[]): HostSettings['durable'] {
  const whole = (key: string): number | undefined =>
    readWhole(durable, { key, fallback: undefined, where: 'extensions.durableTask', faults });
  const hubName = durable['hubName'];
  const maxActivities = whole('maxConcurrentActivityFunctions');
  const maxOrchestrators = whole('maxConcurrentOrchestratorFunctions');
  return {
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
  refuseServiceBus(json, faults);
  const tryTimeoutMs = span(retry, 'tryTimeout', 60_000);
  const renewal = json['maxAutoLockRenewalDuration'];
  return {
    autoCompleteMessages: isTrue(json['autoCompleteMessages'] ?? true),
    // [FH 2.5 (6)] infinite is written -00:00:00.0010000
    maxAutoLockRenewalMs:
      renewal === '-00:00:00.0010000'
        ? Infinity
        : span(json, 'maxAutoLockRenewalDuration', 300_000),
    maxConcurrentCalls: whole(json, 'maxConcurrentCalls', 16 * availableParallelism()),
    maxConcurrentSessions: whole(json, 'maxConcurrentSessions', 8),
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

function refuseServiceBus(json: Json, faults: string[]): void {
  const refuse = (key: string, allowed: (value: unknown) => boolean): void => {
    const value = json[key];
    if (value !== undefined && !allowed(value)) {
      faults.push(
        `extensions.serviceBus.${key} = ${JSON.stringify(value)} ` +
          'is not supported by the local host',
      );
    }
  };
  refuse('prefetchCount', (value) => Number(value) === 0);
  refuse('maxConcurrentCallsPerSession', (value) => Number(value) === 1);
  refuse('transportType', (value) => String(value).toLowerCase() === 'amqptcp');
  refuse('webProxy', (value) => value === null || value === '');
  refuse('enableCrossEntityTransactions', (value) => !isTrue(value));
}

function refuseOthers(file: Json, faults: string[]): void {
  if (isTrue(section(file, 'concurrency')['dynamicConcurrencyEnabled'])) {
    faults.push('concurrency.dynamicConcurrencyEnabled is not supported by the local host');
  }
  if (file['customHandler'] !== undefined) {
    faults.push('customHandler is not supported by the local host');
  }
}

/** The value of an app setting; undefined when unset or empty. */
export function setting(name: string): string | undefined {
  return process.env[name] || undefined;
}

/** [FH 1.11] Replaces every `%NAME%`; throws when one is not set. */
export function resolvePercents(text: string): string {
  return text.replace(/%([^%]+)%/g, (whole, name: string) => {
    const value = setting(name);
    if (value === undefined) throw new Error(`'${whole}' does not resolve to a value.`);
    return value;
  });
}

/** [FH 5.2] `AzureWebJobs.<name>.Disabled` = true or 1. */
export function isDisabled(functionName: string): boolean {
  const value =
    setting(`AzureWebJobs.${functionName}.Disabled`) ??
    setting(`AzureWebJobs_${functionName}_Disabled`);
  return value !== undefined && /^(true|1)$/i.test(value);
}

/** [FH 2.12] The connection string behind a `connection` option; throws with what to set. */
export function connectionString(connection: unknown): string {
  const name = typeof connection === 'string' && connection ? connection : 'AzureWebJobsServiceBus';
  const value =
    setting(name) ?? setting(`AzureWebJobs${name}`) ?? setting(`ConnectionStrings:${name}`);
  if (value !== undefined) return value;
  if (setting(`${name}__fullyQualifiedNamespace`) !== undefined) {
    throw new Error(
      `Service Bus connection '${name}' is identity-based (${name}__fullyQualifiedNamespace), ` +
        `which the local host does not support; set ${name} to a connection string`,
    );
  }
  throw new Error(
    `Microsoft.Azure.WebJobs.ServiceBus: Service Bus account connection string '${name}' ` +
      'does not exist. Make sure that it is a defined App Setting.',
  );
}

/** JSON as Newtonsoft reads it: comments and trailing commas are tolerated. */
function parseJsonFile(path: string): Json {
  const string = String.raw`"(?:\\.|[^"\\])*"`;
  const comment = new RegExp(String.raw`(${string})|\/\/[^\n]*|\/\*[\s\S]*?\*\/`, 'g');
  const comma = new RegExp(String.raw`(${string})|,(?=\s*[}\]])`, 'g');
  const text = readFileSync(path, 'utf8').replace(/^\uFEFF/, '');
  try {
    return JSON.parse(text.replace(comment, '$1').replace(comma, '$1')) as Json;
  } catch (cause) {
    throw new Error(`Unable to parse host configuration file '${path}'.`, { cause });
  }
}

function section(from: Json, key: string): Json {
  const value = from[key];
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Json)
    : {};
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

function isTrue(value: unknown): boolean {
  return value === true || String(value).toLowerCase() === 'true';
}
