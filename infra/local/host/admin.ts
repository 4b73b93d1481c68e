// The admin endpoints of the host [FH 5.5]. What is not here is refused by name with 501.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { hostname } from 'node:os';
import type { RegisteredFunction } from './core-module.ts';
import { messageOf } from './faults.ts';
import { compareNames, type HostFunction } from './functions.ts';
import { readBody, sendEmpty, sendJson } from './http-answer.ts';
import type { HostRoute } from './http.ts';
import { hostInstanceId } from './invoker.ts';

export interface AdminOptions {
  functions: readonly HostFunction[];
  disabled: readonly RegisteredFunction[];
  /** Functions that cannot run here, with the reason. */
  failed: readonly { name: string; reason: string }[];
  invokeUrlOf: (fn: HostFunction) => string | undefined;
  hostUrl: () => string;
  startedAt: number;
  now: () => number;
  state: () => string;
  usage: () => object;
  outstanding: () => number;
  drain: () => Promise<void>;
  /** Starts a run with an input given by hand; throws when its trigger type cannot be. */
  runByHand: (fn: HostFunction, input: string) => Promise<unknown>;
}

interface AdminCall {
  request: IncomingMessage;
  response: ServerResponse;
  /** The function's name, where the path has one. */
  name: string;
}

type Answer = (call: AdminCall) => Promise<void> | void;

/** Answers everything under /admin. */
export function adminRoute(options: AdminOptions): HostRoute {
  const answers = new Map([...hostAnswers(options), ...functionAnswers(options)]);
  return async (request, response, url) => {
    if (!/^\/admin(\/|$)/i.test(url.pathname)) return false;
    const path = url.pathname.slice('/admin'.length).replace(/(?<!\/)\/+$/, '');
    const [, name] = /^\/functions\/([^/]+)/i.exec(path) ?? [];
    const known = name === undefined ? path : path.replace(name, '{name}');
    const answer = answers.get(`${request.method} ${known.toLowerCase()}`);
    if (answer) await answer({ request, response, name: decodeURIComponent(name ?? '') });
    else {
      const message = `${request.method} ${url.pathname} is not supported by the local host`;
      sendJson(response, 501, { error: message });
    }
    return true;
  };
}

function hostAnswers(options: AdminOptions): [string, Answer][] {
  let drain: 'Disabled' | 'InProgress' | 'Completed' = 'Disabled';
  const startDrain = (): void => {
    if (drain !== 'Disabled') return;
    drain = 'InProgress';
    void options.drain().then(() => (drain = 'Completed'));
  };
  const ping: Answer = ({ response }) => sendEmpty(response, 200);
  return [
    ['GET /host/status', ({ response }) => sendJson(response, 200, hostStatus(options))],
    ['GET /host/ping', ping],
    ['POST /host/ping', ping],
    ['GET /host/usage', ({ response }) => sendJson(response, 200, options.usage())],
    [
      'POST /host/drain',
      ({ response }) => {
        startDrain();
        sendEmpty(response, 202);
      },
    ],
    [
      'GET /host/drain/status',
      ({ response }) =>
        sendJson(response, 200, {
          state: drain,
          outstandingInvocations: options.outstanding(),
          outstandingRetries: 0,
        }),
    ],
    [
      'GET /warmup',
      async ({ response }) => {
        const warmups = options.functions.filter(({ kind }) => kind === 'warmup');
        await Promise.allSettled(warmups.map((fn) => options.runByHand(fn, '')));
        sendEmpty(response, 200);
      },
    ],
  ];
}

function functionAnswers(options: AdminOptions): [string, Answer][] {
  const isNamed = (name: string) => (one: { name: string }) => compareNames(one.name, name) === 0;
  const find = (name: string): HostFunction | undefined => options.functions.find(isNamed(name));
  const findDisabled = (name: string): RegisteredFunction | undefined =>
    options.disabled.find(({ metadata }) => isNamed(name)(metadata));
  const describeAny = (name: string): object | undefined => {
    const fn = find(name);
    const registered = fn?.registered ?? findDisabled(name);
    return registered && describe(options, registered, fn);
  };
  return [
    [
      'GET /functions',
      ({ response }) => {
        const all = [
          ...options.functions.map((fn) => ({ registered: fn.registered, fn })),
          ...options.disabled.map((registered) => ({ registered, fn: undefined })),
        ].sort((a, b) => compareNames(a.registered.metadata.name, b.registered.metadata.name));
        const described = all.map(({ registered, fn }) => describe(options, registered, fn));
        sendJson(response, 200, described);
      },
    ],
    [
      'GET /functions/{name}',
      ({ name, response }) => {
        const found = describeAny(name);
        if (found) sendJson(response, 200, found);
        else sendEmpty(response, 404);
      },
    ],
    [
      'GET /functions/{name}/status',
      ({ name, response }) => {
        const failed = options.failed.find(isNamed(name));
        const isDisabled = findDisabled(name) !== undefined;
        if (!failed && !isDisabled && !find(name)) return sendEmpty(response, 404);
        sendJson(response, 200, { isDisabled, ...(failed ? { errors: [failed.reason] } : {}) });
      },
    ],
    [
      'POST /functions/{name}',
      async ({ name, request, response }) => {
        const fn = find(name);
        if (!fn) sendEmpty(response, 404);
        else await runNow(options, { fn, body: (await readBody(request)).toString(), response });
      },
    ],
  ];
}

/** [FH 5.5] 202 at once; what becomes of the run is in the log. */
async function runNow(
  options: AdminOptions,
  { fn, body, response }: { fn: HostFunction; body: string; response: ServerResponse },
): Promise<void> {
  let input: unknown;
  try {
    input = (JSON.parse(body) as { input?: unknown }).input;
  } catch {
    return sendEmpty(response, 400);
  }
  const text = typeof input === 'string' ? input : JSON.stringify(input ?? '');
  try {
    // not awaited: the invoker says how it ends
    void options.runByHand(fn, input === undefined ? '' : text).catch(() => {});
    sendEmpty(response, 202);
  } catch (error) {
    sendJson(response, 501, { error: messageOf(error) });
  }
}

function hostStatus(options: AdminOptions): object {
  return {
    id: 'convoy-local',
    state: options.state(),
    version: '4.1052.200.0',
    versionDetails: '4.1052.200 (local stand-in)',
    instanceId: hostInstanceId,
    computerName: hostname(),
    processUptime: options.now() - options.startedAt,
  };
}

function describe(
  options: AdminOptions,
  { metadata, scriptFile }: RegisteredFunction,
  fn: HostFunction | undefined,
): object {
  const { name } = metadata;
  const bindings = Object.entries(metadata.bindings).map(([bindingName, binding]) => ({
    ...binding,
    name: bindingName,
  }));
  return {
    name,
    href: `${options.hostUrl()}/admin/functions/${name}`,
    config: { name, entryPoint: '', scriptFile, language: 'node', bindings },
    files: null,
    test_data: '',
    isDisabled: fn === undefined,
    isDirect: true,
    isProxy: false,
    language: 'node',
    invoke_url_template: (fn && options.invokeUrlOf(fn)) ?? null,
  };
}
