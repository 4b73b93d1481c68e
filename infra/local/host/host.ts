// The local Azure Functions host: loads any built v4 app and runs its HTTP, timer, Service Bus
// queue and durable functions, as Azure's host does. Owns start, drain and stop; every trigger has
// its own file.
//
// O1 The port is bound first (a busy one fails at once), then settings stand, then the app loads:
//    an app sees WEBSITE_HOSTNAME at import. Until it runs, requests are answered 503.
// O2 Stopping goes against the flow: triggers, then what is in flight, then the hub, then HTTP,
//    because a handler in flight still calls the hub over HTTP.
// O3 A function that cannot run here is named with the reason; the rest runs.
import { mkdirSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { join, resolve } from 'node:path';
import type { RequestListener } from 'node:http';
import { realClock, type Clock } from '../../../shared/clock.ts';
import { openHub } from '../durable/hub.ts';
import type { Hub, HubOptions } from '../durable/parts.ts';
import { adminRoute, type AdminOptions } from './admin.ts';
import { createSay, hostLevel, type HostLogLevel, type Say } from './console.ts';
import { HostFault } from './faults.ts';
import type { RegisteredFunction } from './core-module.ts';
import { checkDurableSdk, hubSettings } from './durable.ts';
import { createRunner, durableRoute, durableUrls } from './durable.ts';
import { sortFunctions, type HostFunction } from './functions.ts';
import { readHostSettings, type HostSettings } from './host-json.ts';
import { listenOnLoopback, type Listening } from './http-server.ts';
import { createStreamProxy } from './http-stream.ts';
import { createHttp, homePage, readHttpFunctions, unavailable, type HttpFunction } from './http.ts';
import { createInvoker, type Invoker } from './invoker.ts';
import { createOutputs, type Outputs } from './outputs.ts';
import { applyEnvironment, readLocalHost, type CorsSettings } from './settings.ts';
import { openTimerStore, type TimerStore } from './timer.ts';
import { runByHand, startTriggers, type Triggers } from './triggers.ts';
import { within } from './waits.ts';
import { loadApp, runAppHooks, type LoadedApp } from './worker.ts';

export interface HostOptions {
  /** Folder with host.json and package.json. */
  appDir: string;
  /** 0 = any free one. */
  port: number;
  /** hub.sqlite and host.sqlite live here. */
  dataDir: string | ':memory:';
  /** Win over local.settings.json; stand in process.env while the host is open. */
  settings?: Record<string, string>;
  clock?: Clock;
  /** Default: what `Host.CORS` of local.settings.json says. */
  cors?: CorsSettings;
  /** Default 'warning': quiet. At 'information' host.json decides by category, as with `func`. */
  logLevel?: HostLogLevel;
  /** Default false: escape codes are for terminals. */
  isColoured?: boolean;
  log?: (line: string) => void;
  hubIntercept?: HubOptions['intercept'];
  hubDelivery?: HubOptions['delivery'];
  /** Default: print and process.exit(1), so that the launcher starts the host again. */
  onFatal?: (reason: string) => void;
}

export interface FunctionsHost {
  port: number;
  url: string;
  functions: readonly { name: string; type: string; invokeUrl?: string }[];
  /** Resolves when no function runs: between two steps of a clock that a test moves. */
  settled(): Promise<void>;
  usage(): { storageTransactions: number; episodes: number; activities: number };
  /** Stops listeners and finishes what is in flight. HTTP stays open. */
  drain(): Promise<void>;
  /** Drains (at most 4.5 s), runs appTerminate hooks (at most 5 s), closes hub and HTTP. */
  close(drainMs?: number): Promise<void>;
}

/** Together below the ten seconds a Ctrl-C may take. */
const drainMsMax = 4_500;
const terminateMsMax = 5_000; // the grace of the real host [FH 1.14]
const closeStepMsMax = 1_000;

/** Starts a host. A busy port rejects with code 'EADDRINUSE' and `port`. */
export async function startHost(options: HostOptions): Promise<FunctionsHost> {
  const clock = options.clock ?? realClock;
  const write = options.log ?? ((line: string) => console.log(line));
  const logging: { levels: HostSettings['logLevels'] } = { levels: {} };
  const say = createSay({
    least: options.logLevel ?? 'warning',
    clock,
    write,
    isColoured: options.isColoured ?? false,
    levels: () => logging.levels,
  });
  let onRequest: RequestListener = unavailable;
  const http = await listenOnLoopback(options.port, (...pair) => void onRequest(...pair)); // [O1]
  const undo: (() => Promise<void> | void)[] = [() => http.close()];
  try {
    const host = await start({ options, clock, say, http, undo, logging });
    onRequest = host.onRequest; // no turn of the event loop since triggers and hub started
    return host.api;
  } catch (error) {
    for (const step of undo.reverse()) await step();
    throw error;
  }
}

interface Starting {
  options: HostOptions;
  clock: Clock;
  say: Say;
  http: Listening;
  /** Filled from host.json. */
  logging: { levels: HostSettings['logLevels'] };
  /** What is open so far, for a start that fails. */
  undo: (() => Promise<void> | void)[];
}

interface Parts extends Starting {
  app: LoadedApp;
  functions: readonly HostFunction[];
  http: Listening;
  hub: Hub;
  invoker: Invoker;
  store: TimerStore;
  triggers: Triggers;
}

async function start(
  starting: Starting,
): Promise<{ api: FunctionsHost; onRequest: RequestListener }> {
  const { options, say, clock, http, undo } = starting;
  const warn = (message: string): void => say('warning', message);
  const appDir = resolve(options.appDir);
  const own = { WEBSITE_HOSTNAME: `localhost:${http.port}`, ...options.settings };
  undo.push(applyEnvironment(appDir, own, warn));
  const settings = readHostSettings(appDir, warn);
  starting.logging.levels = settings.logLevels;
  const onFatal = options.onFatal ?? exitWith;
  undo.push(catchUncaught(say, onFatal));
  const app = await loadApp(appDir, (level, _, message) => say(hostLevel(level), message));
  undo.push(() => void (app.isOpen = false));
  await runAppHooks(app, 'appStart');

  const sorted = sortFunctions(app.registrations.functions.values(), settings.allowedFunctions);
  const ofKind = sorted.functions.filter(({ kind }) => kind === 'http');
  const { accepted, refused } = readHttpFunctions(ofKind, settings.routePrefix);
  const store = openTimerStore(fileIn(options.dataDir, 'host.sqlite'));
  undo.push(() => store.close());
  const outputs = createOutputs({ settings: settings.serviceBus, clock });
  undo.push(() => outputs.close());
  const { hub, invoker } = openDurable(starting, { app, settings, outputs, onFatal, ...sorted });
  undo.push(() => hub.close());
  const { HttpUri: httpUri, IncludeEmptyEntriesInMessagePayload: keepsEmpty } = app.capabilities;
  const streams = httpUri === undefined ? undefined : createStreamProxy(httpUri, invoker);
  undo.push(() => streams?.close());
  const triggers = startTriggers({
    functions: sorted.functions,
    settings,
    store,
    clock,
    say,
    invoker,
    keepsEmptyEntries: keepsEmpty?.toLowerCase() === 'true',
  });
  hub.start();

  const failed = [...sorted.refused, ...refused, ...triggers.refused];
  const isFailed = new Set(failed.map(({ name }) => name));
  const functions = sorted.functions.filter(({ name }) => !isFailed.has(name));
  const parts: Parts = { ...starting, app, functions, hub, invoker, store, triggers };
  const api = createApi(parts, accepted);
  const onRequest = createHttp({
    functions: accepted,
    invoker,
    hostRoutes: [homePage, createAdmin(parts, { api, failed, ...sorted }), durableRoute(hub)],
    customHeaders: settings.customHeaders,
    cors: options.cors ?? readLocalHost(appDir).cors,
    limits: settings.http,
    streams,
    say,
  });
  for (const { name, reason } of failed) {
    say('error', `The '${name}' function is in error: ${reason}`); // [O3]
  }
  say('information', functionList(api, accepted, sorted.disabled));
  return { api, onRequest };
}

function openDurable(
  { options, clock, say, http }: Starting,
  from: {
    app: LoadedApp;
    settings: HostSettings;
    functions: HostFunction[];
    outputs: Outputs;
    onFatal: (reason: string) => void;
  },
): { hub: Hub; invoker: Invoker } {
  const { settings } = from;
  const { hubName, maxActivities, maxOrchestrators } = settings.durable;
  checkDurableSdk(options.appDir, from.functions);
  let invoker: Invoker | undefined;
  const hub = openHub({
    file: fileIn(options.dataDir, 'hub.sqlite'),
    runner: createRunner(from.functions, () => {
      if (!invoker) throw new HostFault('the hub ran a function before the host was ready');
      return invoker;
    }),
    clock,
    log: say,
    settings: hubSettings(settings.durable.section),
    ...(hubName === undefined ? {} : { taskHubName: hubName }),
    ...(maxActivities === undefined ? {} : { maxConcurrentActivities: maxActivities }),
    ...(maxOrchestrators === undefined ? {} : { maxConcurrentOrchestrators: maxOrchestrators }),
    ...(options.hubIntercept ? { intercept: options.hubIntercept } : {}),
    ...(options.hubDelivery ? { delivery: options.hubDelivery } : {}),
  });
  const binding = hub.clientBinding(durableUrls(http.port));
  const { functionTimeoutMs, functionTimeoutText } = settings;
  invoker = createInvoker({
    app: from.app,
    clock,
    say,
    functionTimeoutMs,
    functionTimeoutText,
    durableClient: () => binding,
    outputs: from.outputs,
    onFatal: from.onFatal,
  });
  return { hub, invoker };
}

function createApi(parts: Parts, accepted: readonly HttpFunction[]): FunctionsHost {
  const { http, hub, invoker, triggers } = parts;
  let draining: Promise<void> | undefined;
  let closing: Promise<void> | undefined;
  const drain = (): Promise<void> =>
    (draining ??= (async () => {
      await triggers.stop(); // [O2]
      await invoker.settled();
      await hub.drain();
    })());
  const invokeUrls = new Map(
    accepted.map(({ fn, route }) => [fn.name, `http://localhost:${http.port}/${route.template}`]),
  );
  return {
    port: http.port,
    url: `http://localhost:${http.port}`,
    functions: parts.functions.map(({ name, triggerType: type }) => {
      const invokeUrl = invokeUrls.get(name);
      return invokeUrl === undefined ? { name, type } : { name, type, invokeUrl };
    }),
    settled: async () => {
      await turn(); // what has just become due starts first
      await invoker.settled();
      await turn();
    },
    usage: () => hub.usage(),
    drain,
    close: (drainMs = drainMsMax) => (closing ??= closeHost(parts, drain, drainMs)),
  };
}

async function closeHost(parts: Parts, drain: () => Promise<void>, drainMs: number): Promise<void> {
  const { app, invoker, say, undo } = parts;
  // of real time, whatever clock the functions have
  const isDrained = await within(realClock, drainMs, drain());
  if (!isDrained) {
    say('warning', `Stopped with functions in flight: ${invoker.running().join(', ')}`);
  }
  const terminated = runAppHooks(app, 'appTerminate').catch((error: unknown) =>
    say('error', `An appTerminate hook failed: ${String(error)}`),
  );
  if (!(await within(realClock, terminateMsMax, terminated))) {
    say('warning', 'appTerminate hooks took longer than 5 s and were left');
  }
  invoker.close();
  for (const step of undo.reverse()) {
    await within(realClock, closeStepMsMax, Promise.resolve(step()));
  }
}

function createAdmin(
  parts: Parts,
  from: Pick<AdminOptions, 'failed' | 'disabled'> & { api: FunctionsHost },
) {
  const { clock, hub, invoker, functions } = parts;
  const { api } = from;
  let isDraining = false;
  return adminRoute({
    functions,
    disabled: from.disabled,
    failed: from.failed,
    invokeUrlOf: (fn) => api.functions.find(({ name }) => name === fn.name)?.invokeUrl,
    hostUrl: () => api.url,
    startedAt: clock.now(),
    now: () => clock.now(),
    state: () => (isDraining ? 'Offline' : 'Running'),
    usage: () => ({ ...hub.usage(), invocations: invoker.invocations }),
    outstanding: () => invoker.running().length,
    drain: () => {
      isDraining = true;
      return api.drain();
    },
    runByHand: (fn, input) => runByHand(invoker, fn, input),
  });
}

/** [FH 1.14] An uncaught exception of the app ends the process. */
function catchUncaught(say: Say, onFatal: (reason: string) => void): () => void {
  const onUncaught = (error: unknown): void => {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    say('error', `Worker uncaught exception: ${text}`);
    onFatal(`Worker uncaught exception: ${error instanceof Error ? error.message : String(error)}`);
  };
  process.on('uncaughtException', onUncaught);
  return () => process.off('uncaughtException', onUncaught);
}

function exitWith(reason: string): never {
  console.error(reason);
  process.exit(1);
}

function fileIn(dataDir: string, name: string): string {
  if (dataDir === ':memory:') return dataDir;
  mkdirSync(dataDir, { recursive: true });
  return join(dataDir, name);
}

/** [FH 5.3] */
function functionList(
  api: FunctionsHost,
  accepted: readonly HttpFunction[],
  disabled: readonly RegisteredFunction[],
): string {
  const http = accepted.map(({ fn, route }) => {
    return `\t${fn.name}: [${route.methods.join(',')}] ${api.url}/${route.template}`;
  });
  const others = api.functions
    .filter(({ invokeUrl }) => invokeUrl === undefined)
    .map(({ name, type }) => `\t${name}: ${type}`);
  const off = disabled.map(({ metadata }) => `Function ${metadata.name} is disabled.`);
  return ['Functions:', ...http, ...others, ...off].join('\n');
}
