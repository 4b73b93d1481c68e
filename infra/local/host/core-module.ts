// The `@azure/functions-core` module: not a package but what the host process must answer for
// [FH 1.1]. Owns the one core object of the process and who registers into which app; loading and
// invoking are worker.ts.
//
// C1 One core object per process, whatever loads this file twice: the library caches it for ever.
// C2 The interception stands before the first import of `@azure/functions` (a miss is cached too).
// C3 A function is registered only while its app loads; hooks may come later.
import Module from 'node:module';
import type {
  CoreLog,
  FunctionMetadata,
  Handler,
  LogCategory,
  LogLevel,
  ProgrammingModel,
} from './rpc.ts';

export const hookNames = [
  'preInvocation',
  'postInvocation',
  'appStart',
  'appTerminate',
  'log',
] as const;
export type HookName = (typeof hookNames)[number];
export type Hook = (context: object) => unknown;

export interface RegisteredFunction {
  metadata: FunctionMetadata;
  handler: Handler;
  /** The file whose load registered it. */
  scriptFile: string;
}

/** Everything one app registered. */
export interface Registrations {
  functions: Map<string, RegisteredFunction>;
  hooks: Record<HookName, Hook[]>;
  /** Shared by all hooks of the app [FH 1.5]. */
  appHookData: Record<string, unknown>;
  entryPoint: string;
}

interface CoreState {
  api: object;
  model: ProgrammingModel | undefined;
  /** The app whose files load now. */
  loading: Registrations | undefined;
  /** Gets hooks that are registered after load. */
  current: Registrations | undefined;
  log: CoreLog;
}

const stateKey = Symbol.for('convoy.local.functionsCore');
const globals = globalThis as unknown as { [stateKey]?: CoreState };

export function emptyRegistrations(): Registrations {
  return {
    functions: new Map(),
    hooks: { preInvocation: [], postInvocation: [], appStart: [], appTerminate: [], log: [] },
    appHookData: {},
    entryPoint: '',
  };
}

class Disposable {
  readonly #dispose: () => void;
  constructor(dispose: () => void) {
    this.#dispose = dispose;
  }
  static from(...parts: { dispose(): unknown }[]): Disposable {
    return new Disposable(() => parts.forEach((part) => part.dispose()));
  }
  dispose(): void {
    this.#dispose();
  }
}

function registerFunction(
  state: CoreState,
  metadata: FunctionMetadata,
  handler: Handler,
): Disposable {
  const app = state.loading;
  if (!app) throw new Error('A function can only be registered during app startup.');
  const functionId = metadata.functionId ?? metadata.name;
  if (app.functions.has(functionId)) {
    throw new Error(`A function with id "${functionId}" has already been registered.`);
  }
  const rawBindings = Object.entries(metadata.bindings).map(([name, binding]) =>
    JSON.stringify({ ...binding, name }),
  );
  app.functions.set(functionId, {
    metadata: { ...metadata, functionId, rawBindings },
    handler,
    scriptFile: app.entryPoint,
  });
  return new Disposable(() => app.functions.delete(functionId));
}

function registerHook(state: CoreState, name: string, hook: Hook): Disposable {
  const app = state.loading ?? state.current;
  const known = hookNames.find((candidate) => candidate === name);
  if (!known) {
    const error = new RangeError(`Unrecognized hook "${name}"`);
    throw Object.assign(error, { isAzureFunctionsSystemError: true });
  }
  if (!app) throw new Error('A hook can only be registered by an app that loads or has loaded.');
  const list = app.hooks[known];
  list.push(hook);
  return new Disposable(() => {
    const at = list.indexOf(hook);
    if (at >= 0) list.splice(at, 1);
  });
}

function createState(): CoreState {
  const state: CoreState = {
    api: {},
    model: undefined,
    loading: undefined,
    current: undefined,
    log: () => {},
  };
  state.api = {
    // What the real worker of core tools 4.14 says; apps only print it.
    version: '3.14.1',
    hostVersion: '4.1052.200',
    Disposable,
    setProgrammingModel: (model: ProgrammingModel) => void (state.model = model),
    getProgrammingModel: () => state.model,
    registerFunction: (metadata: FunctionMetadata, handler: Handler) =>
      registerFunction(state, metadata, handler),
    registerHook: (name: string, hook: Hook) => registerHook(state, name, hook),
    log: (level: LogLevel, category: LogCategory, message: string) =>
      state.log(level, category, message),
  };
  return state;
}

/** Puts the module in place (once per process) and returns the state behind it. */
export function installCoreModule(): CoreState {
  const present = globals[stateKey];
  if (present) return present;
  const state = createState();
  globals[stateKey] = state;
  const prototype = Module.prototype as { require: (id: string) => unknown };
  prototype.require = new Proxy(prototype.require, {
    apply: (target, self, args: [string]) =>
      args[0] === '@azure/functions-core' ? state.api : Reflect.apply(target, self, args),
  });
  return state;
}
