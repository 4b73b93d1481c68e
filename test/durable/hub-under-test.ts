// Opens a hub over the test runner and speaks to it as the durable client does.
import { virtualClock, type VirtualClock } from '../../shared/clock.ts';
import { openHub } from '../../infra/local/durable/hub.ts';
import type { Hub, HubOptions, HubResponse } from '../../infra/local/durable/parts.ts';
import { runner } from './runner.ts';

export interface Status {
  name: string;
  instanceId: string;
  runtimeStatus: string;
  input: unknown;
  output: unknown;
  customStatus: unknown;
  createdTime: string;
  historyEvents?: { EventType: string; FunctionName?: string; Name?: string }[];
}

export interface TestHub extends AsyncDisposable {
  hub: Hub;
  clock: VirtualClock;
  log: string[];
  call(method: string, target: string, body?: unknown): Promise<HubResponse>;
  start(name: string, id: string, input?: unknown): Promise<void>;
  raise(id: string, name: string, data?: unknown): Promise<number>;
  status(id: string, query?: string): Promise<Status>;
  /** Lets everything run that can run without time passing. */
  settle(): Promise<void>;
  /** Moves the clock in steps and settles after each, as real time would. */
  pass(totalMs: number, stepMs?: number): Promise<void>;
}

/** Set by always-live.test.ts: the same scenarios, but no run is ever replayed without need. */
export const isAlwaysLive = (): boolean => process.env['HUB_ALWAYS_LIVE'] === '1';

export function openTestHub(options: Partial<HubOptions> = {}): TestHub {
  const clock = (options.clock as VirtualClock | undefined) ?? virtualClock();
  const log: string[] = [];
  const hub = openHub({
    file: ':memory:',
    runner,
    clock,
    log: (level, message) => log.push(`${level}: ${message}`),
    ...options,
    settings: { ...(isAlwaysLive() ? { replayedEventsMax: 0 } : {}), ...options.settings },
  });
  hub.start();
  const call: TestHub['call'] = (method, target, body) => {
    const [path = '', query = ''] = target.split('?');
    return hub.handle({
      method,
      path,
      query: new URLSearchParams(query),
      body: body === undefined ? '' : JSON.stringify(body),
      headers: { 'content-type': 'application/json' },
    });
  };
  return {
    hub,
    clock,
    log,
    call,
    async start(name, id, input = null) {
      const { status, body } = await call('POST', `orchestrators/${name}/${id}`, input);
      if (status !== 202) throw new Error(`start answered ${status}: ${body}`);
    },
    async raise(id, name, data = null) {
      return (await call('POST', `instances/${id}/raiseEvent/${name}`, data)).status;
    },
    async status(id, query = '') {
      const { body } = await call('GET', `instances/${id}?${query}`);
      return JSON.parse(body) as Status;
    },
    settle: () => hub.idle(),
    async pass(totalMs, stepMs = totalMs) {
      await hub.idle();
      for (let left = totalMs; left > 0; left -= stepMs) {
        await clock.advance(Math.min(stepMs, left));
        await hub.idle();
      }
    },
    [Symbol.asyncDispose]: () => hub.close(),
  };
}
