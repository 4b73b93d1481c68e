// Loads a built v4 app as the real Node worker does and runs its functions. Owns load order, hooks
// and the invocation order of [FH 1.4]; what is fed in and what becomes of the answer is the
// triggers' (http.ts, timer.ts, service-bus.ts, durable.ts).
//
// W1 Entry files load one after another, shallower folders first; a failure names the file.
// W2 An app is loaded once per process (ES modules cannot be unloaded): a later host on the same
//    folder re-uses the registrations and runs the appStart hooks again.
// W3 A throw of the handler is the only failure; a hook that throws fails the invocation.
import { HostFault } from './faults.ts';
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { glob } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join, resolve, sep } from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  emptyRegistrations,
  installCoreModule,
  type RegisteredFunction,
  type Registrations,
} from './core-module.ts';
import type {
  CoreContext,
  CoreLog,
  InvocationRequest,
  InvocationResponse,
  LogCategory,
  LogLevel,
  ProgrammingModel,
} from './rpc.ts';

/** [FH 1.2 (8)] What the real worker offers; the library adds the app's own. */
const workerCapabilities = {
  RawHttpBodyBytes: 'true',
  RpcHttpTriggerMetadataRemoved: 'true',
  RpcHttpBodyOnly: 'true',
  IgnoreEmptyValuedRpcHttpHeaders: 'true',
  UseNullableValueDictionaryForHttp: 'true',
  WorkerStatus: 'true',
  TypedDataCollection: 'true',
  HandlesWorkerTerminateMessage: 'true',
};

/** A loaded app. `model` is absent when it registers nothing. */
export interface LoadedApp {
  dir: string;
  registrations: Registrations;
  model: ProgrammingModel | undefined;
  capabilities: Record<string, string>;
  isOpen: boolean;
}

const loadedApps = new Map<string, LoadedApp>();

/** Loads the app of a folder, or hands out the one that is loaded already [W2]. */
export async function loadApp(appDir: string, log: CoreLog): Promise<LoadedApp> {
  const dir = realpathSync(resolve(appDir));
  const state = installCoreModule();
  const present = loadedApps.get(dir);
  if (present?.isOpen) throw new HostFault(`a host is already open on ${dir} in this process`);
  state.log = log;
  const app = present ?? (await loadFresh(dir));
  state.current = app.registrations;
  loadedApps.set(dir, app);
  app.isOpen = true;
  return app;
}

async function loadFresh(dir: string): Promise<LoadedApp> {
  const state = installCoreModule();
  const registrations = emptyRegistrations();
  const { main, isModule } = readPackage(dir);
  if (state.loading) throw new HostFault('another app is being loaded in this process');
  state.loading = registrations;
  try {
    for (const file of await entryFiles(dir, main)) {
      registrations.entryPoint = file;
      await loadEntry(file, isModule).catch((error: unknown) => {
        throw unableToLoad(file, error);
      });
    }
  } finally {
    state.loading = undefined;
  }
  const model = registrations.functions.size > 0 ? state.model : undefined;
  const capabilities = (await model?.getCapabilities?.({ ...workerCapabilities })) ?? {};
  return { dir, registrations, model, capabilities, isOpen: false };
}

function readPackage(dir: string): { main: string; isModule: boolean } {
  const path = join(dir, 'package.json');
  let parsed: { main?: unknown; type?: unknown };
  try {
    parsed = JSON.parse(readFileSync(path, 'utf8')) as { main?: unknown; type?: unknown };
  } catch (cause) {
    throw new HostFault(`Worker failed to load package.json: ${textOf(cause)}`, { cause });
  }
  if (typeof parsed.main !== 'string') {
    throw new HostFault(`${path} names no "main": the files that register functions`);
  }
  return { main: parsed.main, isModule: parsed.type === 'module' };
}

/** [FH 1.2] `main` is a glob; shallower files first, then by name (real: readdir order). */
async function entryFiles(dir: string, main: string): Promise<string[]> {
  const plain = join(dir, main);
  if (!/[*?{}[\]!()]/.test(main)) {
    if (existsSync(plain)) return [plain];
    throw unableToLoad(main, new HostFault('File does not exist'));
  }
  const found: string[] = [];
  for await (const path of glob(main, { cwd: dir })) found.push(path);
  const depth = (path: string): number => path.split(sep).length;
  const files = found
    .filter((path) => /\.[cm]?js$/.test(path))
    .sort((a, b) => depth(a) - depth(b) || (a < b ? -1 : 1));
  if (files.length === 0) {
    throw unableToLoad(main, new HostFault('Found zero files matching the supplied pattern'));
  }
  return files.map((path) => join(dir, path));
}

async function loadEntry(file: string, isModule: boolean): Promise<void> {
  if (file.endsWith('.mjs') || (isModule && !file.endsWith('.cjs'))) {
    await import(/* @vite-ignore */ pathToFileURL(file).href);
  } else {
    createRequire(file)(file);
  }
}

function unableToLoad(file: string, cause: unknown): HostFault {
  const message = `Worker was unable to load entry point "${file}": ${textOf(cause)}`;
  return new HostFault(message, { cause });
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Runs the hooks of the life of the app; they share one hookData [FH 1.5]. */
export async function runAppHooks(
  app: LoadedApp,
  name: 'appStart' | 'appTerminate',
): Promise<void> {
  const { appHookData, hooks } = app.registrations;
  for (const hook of hooks[name]) {
    await hook({ hookData: appHookData, appHookData, functionAppDirectory: app.dir });
  }
}

export interface Invocation {
  request: InvocationRequest;
  log: CoreLog;
  /** Sees the InvocationContext before the handler runs. */
  onContext?: (context: object) => void;
  /** False: the caller wants the handler's own result; nothing is converted. */
  wantsResponse: boolean;
}

export interface InvocationOutcome {
  result: unknown;
  context: object;
  response?: InvocationResponse;
}

/** [FH 1.4] One invocation in the real worker's order: arguments, pre, handler, post, answer. */
export async function invoke(
  app: LoadedApp,
  fn: RegisteredFunction,
  invocation: Invocation,
): Promise<InvocationOutcome> {
  if (!app.model) throw new HostFault('the app registered no programming model');
  const { hooks, appHookData } = app.registrations;
  const core: CoreContext = {
    invocationId: invocation.request.invocationId,
    request: invocation.request,
    metadata: fn.metadata,
    state: undefined,
    log: invocation.log,
  };
  const model = app.model.getInvocationModel(core);
  const { context, inputs } = await model.getArguments();
  const hookData = {};
  core.log = withLogHooks(app, { invocation, hookData, context });
  invocation.onContext?.(context);
  const fixed = { hookData, appHookData, invocationContext: context };

  core.state = 'preInvocationHooks';
  const pre = hookContext(fixed, { functionCallback: fn.handler, inputs });
  for (const hook of hooks.preInvocation) await hook(pre);

  const post = hookContext(fixed, {
    inputs: pre.inputs,
    result: null as unknown,
    error: null as unknown,
  });
  core.state = 'invocation';
  try {
    post.result = await model.invokeFunction(context, pre.inputs, pre.functionCallback);
  } catch (error) {
    post.error = error;
    // a falsy throw is a failure all the same
    if (error === null || error === undefined) post.error = new Error(String(error));
  }
  core.state = 'postInvocationHooks';
  for (const hook of hooks.postInvocation) await hook(post);
  core.state = undefined;

  if (post.error !== null && post.error !== undefined) throw post.error;
  const outcome: InvocationOutcome = { result: post.result, context };
  if (invocation.wantsResponse) outcome.response = await model.getResponse(context, post.result);
  return outcome;
}

/** Hook contexts let hooks replace their own fields, never the shared ones. */
function hookContext<T extends object>(fixed: Record<string, unknown>, open: T): T {
  for (const [name, value] of Object.entries(fixed)) {
    Object.defineProperty(open, name, {
      enumerable: true,
      get: () => value,
      set: () => {
        throw new TypeError(`Cannot assign to read only property '${name}'`);
      },
    });
  }
  return open;
}

interface LogScope {
  invocation: Invocation;
  hookData: object;
  context: object;
}

/** [FH 1.5] Log hooks may change level and text of user logs only. */
function withLogHooks(app: LoadedApp, scope: LogScope): CoreLog {
  const { hooks, appHookData } = app.registrations;
  if (hooks.log.length === 0) return scope.invocation.log;
  return (level: LogLevel, category: LogCategory, message: string) => {
    const { hookData, context } = scope;
    const seen = { hookData, appHookData, invocationContext: context, level, category, message };
    for (const hook of hooks.log) hook(seen);
    if (category === 'user') scope.invocation.log(seen.level, category, seen.message);
    else scope.invocation.log(level, category, message);
  };
}
