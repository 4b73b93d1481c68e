// The seam between this host and the Durable hub: functions the hub may run, the durableClient
// input, and the hub's HTTP API at its two bases [durable.md 9, 10].
import { existsSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import type { FunctionRunner, Hub, HubSettings } from '../durable/parts.ts';
import { executorFault } from '../durable/sdk.ts';
import type { VersionRules } from '../durable/versions.ts';
import type { HostFunction } from './functions.ts';
import { HostFault } from './faults.ts';
import { headersOf, readBody } from './http-answer.ts';
import type { HostRoute } from './http.ts';
import type { Invoker } from './invoker.ts';

const rpcBase = '/durabletask/';
const webhookBase = '/runtime/webhooks/durabletask/';

/** Where the durable client of this host's functions calls. */
export function durableUrls(port: number): { rpcBaseUrl: string; webhookBaseUrl: string } {
  return {
    // 127.0.0.1 as on Azure; must end with a slash [durable.md 9.1]
    rpcBaseUrl: `http://127.0.0.1:${port}${rpcBase}`,
    webhookBaseUrl: `http://localhost:${port}${webhookBase.slice(0, -1)}`,
  };
}

/**
 * Looks whether the app's durable-functions is one that the hub can run: the hub reads its
 * orchestration executor. An app that bundles its packages is looked at in its first episode.
 */
export function checkDurableSdk(appDir: string, functions: readonly HostFunction[]): void {
  if (!functions.some(({ kind }) => kind === 'orchestration')) return;
  const sdk = folderOfSdk(resolve(appDir));
  if (sdk === undefined) return;
  const require = createRequire(join(sdk, 'package.json'));
  const { version } = require('./package.json') as { version: string };
  const fault = executorFault(newExecutor(require));
  if (fault) throw new HostFault(`durable-functions ${version} cannot run here: ${fault}`);
}

/** Where Node would find it, whatever the package lets others import of itself. */
function folderOfSdk(from: string): string | undefined {
  const found = join(from, 'node_modules', 'durable-functions');
  if (existsSync(join(found, 'package.json'))) return found;
  return dirname(from) === from ? undefined : folderOfSdk(dirname(from));
}

function newExecutor(require: NodeJS.Require): unknown {
  try {
    const found = require('./lib/src/orchestrations/TaskOrchestrationExecutor') as {
      TaskOrchestrationExecutor: new () => unknown;
    };
    return new found.TaskOrchestrationExecutor();
  } catch {
    return undefined;
  }
}

/** What host.json says under `extensions.durableTask`; what is malformed is refused by name. */
export function hubSettings(section: Record<string, unknown>): HubSettings {
  const whole = (from: Record<string, unknown>, key: string): number | undefined => {
    const value = from[key];
    if (value === undefined) return undefined;
    if (Number.isSafeInteger(value) && Number(value) > 0) return Number(value);
    throw new HostFault(`host.json: extensions.durableTask ${key} is no positive whole number`);
  };
  const http = (section['httpSettings'] ?? {}) as Record<string, unknown>;
  const httpSleepMs = whole(http, 'defaultAsyncRequestSleepTimeMilliseconds');
  const entityBatchMax = whole(section, 'maxEntityOperationBatchSize');
  return {
    versions: versionRules(section),
    mayStoreInputs: section['storeInputsInOrchestrationHistory'] === true,
    mayReplaceRunning: section['overridableExistingInstanceStates'] === 'AnyState',
    ...(httpSleepMs === undefined ? {} : { httpSleepMs }),
    ...(entityBatchMax === undefined ? {} : { entityBatchMax }),
  };
}

function versionRules(section: Record<string, unknown>): VersionRules {
  return {
    current: String(section['defaultVersion'] ?? ''),
    match: oneOf(section, 'versionMatchStrategy', ['None', 'Strict', 'CurrentOrOlder']),
    onMismatch: oneOf(section, 'versionFailureStrategy', ['Reject', 'Fail']),
  };
}

/** The first is the default. */
function oneOf<T extends string>(
  section: Record<string, unknown>,
  key: string,
  known: readonly [T, ...T[]],
): T {
  const given = section[key] ?? known[0];
  const found = known.find((name) => name.toLowerCase() === String(given).toLowerCase());
  if (found) return found;
  throw new HostFault(`host.json: extensions.durableTask.${key} is not one of ${known.join(', ')}`);
}

/** Lets the hub run orchestrations, activities and entities of the app. */
export function createRunner(
  functions: readonly HostFunction[],
  invoker: () => Invoker,
): FunctionRunner {
  const durable = new Map<string, HostFunction>();
  for (const fn of functions) {
    if (fn.kind === 'orchestration' || fn.kind === 'activity' || fn.kind === 'entity') {
      durable.set(fn.name.toLowerCase(), fn);
    }
  }
  return {
    kindOf(name) {
      const kind = durable.get(name.toLowerCase())?.kind;
      return kind === 'orchestration' || kind === 'activity' || kind === 'entity'
        ? kind
        : undefined;
    },
    async run(name, data, onContext) {
      const fn = durable.get(name.toLowerCase());
      if (!fn) {
        throw new Error(`The function '${name}' doesn't exist, is disabled, or is not durable.`);
      }
      const { result, context } = await invoker().run(fn, {
        data,
        reason: '(null)',
        wantsResponse: false, // identity kept: the hub reads the result itself
        ...(onContext ? { onContext } : {}),
      });
      return { result, context };
    },
  };
}

/** Serves the hub's API at the RPC and the webhook base. */
export function durableRoute(hub: Hub): HostRoute {
  return async (request, response, url) => {
    const base = [rpcBase, webhookBase].find((one) => url.pathname.startsWith(one));
    if (base === undefined) return false;
    await serveHub(hub, { request, response, url, base });
    return true;
  };
}

interface HubCall {
  request: IncomingMessage;
  response: ServerResponse;
  url: URL;
  base: string;
}

async function serveHub(hub: Hub, { request, response, url, base }: HubCall): Promise<void> {
  const body = await readBody(request);
  const answer = await hub.handle({
    method: request.method ?? 'GET',
    path: url.pathname.slice(base.length),
    query: url.searchParams,
    body: body.toString('utf8'),
    headers: headersOf(request),
  });
  const bytes = Buffer.from(answer.body);
  response
    .writeHead(answer.status, { ...answer.headers, 'content-length': bytes.length })
    .end(bytes);
}
