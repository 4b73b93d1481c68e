// The admin endpoints of the host [FH 5.5]. What is not here is refused by name with 501.
import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { hostname } from 'node:os';
import type { HostFunction } from './functions.ts';
import { readBody, sendEmpty, sendJson } from './http-answer.ts';
import type { HostRoute } from './http.ts';

export interface AdminOptions {
  functions: readonly HostFunction[];
  disabled: readonly string[];
  invokeUrlOf: (fn: HostFunction) => string | undefined;
  hostUrl: () => string;
  startedAt: number;
  now: () => number;
  state: () => string;
  usage: () => object;
  outstanding: () => number;
  drain: () => Promise<void>;
  /** Runs a function with an input given by hand; throws when its trigger type cannot be. */
  runByHand: (fn: HostFunction, input: string) => Promise<void>;
}

const instanceId = randomUUID();

/** Answers everything under /admin. */
export function adminRoute(options: AdminOptions): HostRoute {
  let drain: 'Disabled' | 'InProgress' | 'Completed' = 'Disabled';
  const startDrain = (): void => {
    if (drain !== 'Disabled') return;
    drain = 'InProgress';
    void options.drain().then(() => (drain = 'Completed'));
  };
  return async (request, response, url) => {
    if (!/^\/admin(\/|$)/i.test(url.pathname)) return false;
    const path = url.pathname.slice('/admin'.length).replace(/\/+$/, '').toLowerCase();
    const isGet = request.method === 'GET';
    const isPost = request.method === 'POST';
    if (path === '/host/status' && isGet) sendJson(response, 200, hostStatus(options));
    else if (path === '/host/ping' && (isGet || isPost)) sendEmpty(response, 200);
    else if (path === '/host/usage' && isGet) sendJson(response, 200, options.usage());
    else if (path === '/host/drain' && isPost) {
      startDrain();
      sendEmpty(response, 202);
    } else if (path === '/host/drain/status' && isGet) {
      const outstanding = options.outstanding();
      sendJson(response, 200, {
        state: drain,
        outstandingInvocations: outstanding,
        outstandingRetries: 0,
      });
    } else if (path === '/functions' && isGet) {
      sendJson(
        response,
        200,
        options.functions.map((fn) => describe(options, fn)),
      );
    } else if (path.startsWith('/functions/') && (isGet || isPost)) {
      const name = decodeURIComponent(path.slice('/functions/'.length));
      const fn = options.functions.find((one) => one.name.toLowerCase() === name);
      if (!fn) sendEmpty(response, 404);
      else if (isGet) sendJson(response, 200, describe(options, fn));
      else await runNow(options, { fn, body: (await readBody(request)).toString(), response });
    } else {
      const message = `${request.method} ${url.pathname} is not supported by the local host`;
      sendJson(response, 501, { error: message });
    }
    return true;
  };
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
    await options.runByHand(fn, input === undefined ? '' : text);
    sendEmpty(response, 202);
  } catch (error) {
    sendJson(response, 501, { error: error instanceof Error ? error.message : String(error) });
  }
}

function hostStatus(options: AdminOptions): object {
  return {
    id: 'convoy-local',
    state: options.state(),
    version: '4.1052.200.0',
    versionDetails: '4.1052.200 (local stand-in)',
    instanceId,
    computerName: hostname(),
    processUptime: options.now() - options.startedAt,
  };
}

function describe(options: AdminOptions, fn: HostFunction): object {
  const { metadata, scriptFile } = fn.registered;
  const bindings = Object.entries(metadata.bindings).map(([name, binding]) => ({
    ...binding,
    name,
  }));
  return {
    name: fn.name,
    href: `${options.hostUrl()}/admin/functions/${fn.name}`,
    config: { name: fn.name, entryPoint: '', scriptFile, language: 'node', bindings },
    files: null,
    test_data: '',
    isDisabled: options.disabled.includes(fn.name),
    isDirect: true,
    isProxy: false,
    language: 'node',
    invoke_url_template: options.invokeUrlOf(fn) ?? null,
  };
}
