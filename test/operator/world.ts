// A small world for the API: a memory store with a story in it, and the routes matched as the host
// matches them (alphabetical, first match, wrong method = no match) without any host.
import type { HttpResponseInit } from '@azure/functions';
import { type VirtualClock, virtualClock } from '../../shared/clock.ts';
import { initialGate, initialProgress } from '../../shared/convoy/state.ts';
import type { Gate, Progress } from '../../shared/convoy/state.ts';
import { emptyLayout } from '../../shared/engine/layout.ts';
import type { OperatorRequest } from '../../shared/engine/operate.ts';
import type { QuarantineReplay, ReplayRequest } from '../../shared/engine/replay.ts';
import { gateItem, inboxItem, progressItem } from '../../shared/engine/placed.ts';
import { convoyIdOf } from '../../shared/keys.ts';
import { createLog } from '../../shared/log.ts';
import type { OutgoingMessage } from '../../shared/sender.ts';
import type { ConvoyItem, InboxItem } from '../../shared/store/items.ts';
import { createMemoryStore } from '../../shared/store/memory.ts';
import type { ConvoyStore } from '../../shared/store/store.ts';
import { createThrottling, throttlingAnswer } from '../../shared/throttling.ts';
import type { HealthDeps, OperatorDeps } from '../../functions/operator/deps.ts';
import type { Call } from '../../functions/operator/request.ts';
import { respond, routes } from '../../functions/operator/routes.ts';

export interface Sent {
  convoy: string;
  key: string;
  messages: readonly OutgoingMessage[];
}

export interface World {
  store: ConvoyStore;
  clock: VirtualClock;
  deps: OperatorDeps;
  health: HealthDeps;
  sent: Sent[];
  operated: OperatorRequest[];
  replays: (ReplayRequest | QuarantineReplay)[];
  errors: unknown[];
  put(convoyId: string, items: ConvoyItem[]): Promise<void>;
}

/** `ports` replaces what the routes reach besides the store. */
export function createWorld(ports: Partial<OperatorDeps & HealthDeps> = {}): World {
  const clock = virtualClock();
  const store = createMemoryStore({ clock });
  const sent: Sent[] = [];
  const operated: OperatorRequest[] = [];
  const replays: World['replays'] = [];
  const counted = createThrottling({ clock, log: createLog('warn', () => undefined) });
  const throttling = throttlingAnswer(counted, 'here');
  const deps: OperatorDeps = {
    store,
    clock,
    convoys: [{ name: 'orders', queue: 'orders' }],
    sender: {
      async send(convoy, key, given) {
        const messages = [given].flat();
        sent.push({ convoy, key, messages });
        return messages.map(({ id }, at) => id ?? `made-${at}`);
      },
    },
    currentLanes: async (convoy) => (await store.readLayout(convoy))?.item ?? emptyLayout(convoy),
    operate: async (request) => void operated.push(request),
    replayDead: async (request) => {
      replays.push(request);
      return { replayed: 1, duplicates: 0, hasMore: false };
    },
    customStatusOf: async () => null,
    throttling: () => throttling,
    replayQuarantined: async (request) => {
      replays.push(request);
      return { messageId: 'm', position: 1, isDuplicate: false };
    },
    ...ports,
  };
  const health: HealthDeps = {
    clock,
    checkStore: () => store.check(),
    pingServiceBus: async () => {},
    throttling: () => throttling,
    ...ports,
  };
  const put = async (convoyId: string, items: ConvoyItem[]): Promise<void> => {
    const operations = items.map((item) => ({ kind: 'create' as const, item }));
    const result = await store.batch(convoyId, operations);
    if (!result.applied) throw new Error(`could not set up ${convoyId}: ${result.status}`);
  };
  return { store, clock, deps, health, sent, operated, replays, errors: [], put };
}

export interface Story {
  convoy?: string;
  gate?: Partial<Gate>;
  progress?: Partial<Progress>;
  /** Outcome of positions 1, 2, 3 …; `waiting` is not settled. */
  outcomes?: InboxItem['outcome'][];
  more?: ConvoyItem[];
}

/** Writes what a key looks like after these outcomes. */
export async function tell(world: World, key: string, story: Story = {}): Promise<void> {
  const place = { convoy: story.convoy ?? 'orders', key };
  const outcomes = story.outcomes ?? [];
  const nowMs = world.clock.now();
  const tail = outcomes.length;
  const cursor = outcomes.filter((outcome) => outcome !== 'waiting').length;
  const inbox = outcomes.map((outcome, at) => messageItem(place, at + 1, { outcome, nowMs }));
  const phase = cursor < tail ? ('active' as const) : ('idle' as const);
  const gate = { ...initialGate(), phase, epoch: 1, tail, writtenAt: nowMs, ...story.gate };
  const progress = { ...initialProgress({ total: 1 }, nowMs), cursor, ...story.progress };
  await world.put(convoyIdOf(place.convoy, key), [
    gateItem(place, gate),
    progressItem(place, progress),
    ...inbox,
    ...(story.more ?? []),
  ]);
}

function messageItem(
  place: { convoy: string; key: string },
  position: number,
  given: { outcome: InboxItem['outcome']; nowMs: number },
): InboxItem {
  const { outcome, nowMs } = given;
  const admitted = {
    position,
    messageId: `m-${position}`,
    type: 'OrderPlaced',
    schemaVersion: 1,
    bodyText: JSON.stringify({ amount: position }),
    occurredAt: nowMs,
    enqueuedAt: nowMs,
  };
  const item = inboxItem(place, admitted, { admittedAt: nowMs, sequence: position });
  const settled = { settledAt: nowMs, settlement: position, attempts: 1, chain: 'c' };
  return outcome === 'waiting' ? item : { ...item, ...settled, outcome };
}

export interface Asked {
  status: number;
  headers: Record<string, string>;
  // The answers are read field by field; their shape is what the tests are about.
  // oxlint-disable-next-line typescript/no-explicit-any
  body: any;
}

/** Calls the API as a client would: path below /api, decoded once like the real host does. */
export async function ask(
  world: World,
  request: `${'GET' | 'POST' | 'PUT'} /${string}`,
  options: { body?: unknown; text?: string; headers?: Record<string, string> } = {},
): Promise<Asked> {
  const [method = '', target = ''] = request.split(/ (.*)/s);
  const url = new URL(`http://localhost/api${target}`);
  const response = await dispatch(world, {
    method,
    url,
    headers: options.headers ?? {},
    text: options.text ?? (options.body === undefined ? '' : JSON.stringify(options.body)),
  });
  const headers = response.headers as Record<string, string>;
  return { status: response.status ?? 200, headers, body: JSON.parse(String(response.body)) };
}

export async function dispatch(
  world: World,
  request: { method: string; url: URL; headers: Record<string, string>; text: string },
): Promise<HttpResponseInit> {
  const path = request.url.pathname.replace(/^\/api\//, '');
  const sorted = routes.toSorted((a, b) => (a.name.toUpperCase() < b.name.toUpperCase() ? -1 : 1));
  for (const route of sorted) {
    const params = matched(route.route, path);
    if (!params || !route.methods.some((method) => method === request.method)) continue;
    const call: Call = {
      // As the host does it: the query among the parameters, the route's own win.
      params: { ...Object.fromEntries(request.url.searchParams), ...params },
      query: request.url.searchParams,
      headers: new Headers(request.headers),
      text: async () => request.text,
    };
    const { health } = world;
    const onError = (error: unknown): void => void world.errors.push(error);
    return respond(route, call, { deps: async () => world.deps, health, onError });
  }
  return { status: 404, headers: {}, body: 'null' };
}

/** Route values of a template, `%2F` left as it is [functions-host.md 1.8]. */
function matched(template: string, path: string): Record<string, string> | undefined {
  if (template === '{*rest}') return { rest: path };
  const parts = template.split('/');
  const texts = path.split('/');
  if (parts.length !== texts.length) return undefined;
  const params: Record<string, string> = {};
  for (const [at, part] of parts.entries()) {
    const text = texts[at] ?? '';
    const name = /^\{(\w+)\}$/.exec(part)?.[1];
    if (name) params[name] = decodeURIComponent(text.replaceAll(/%2f/gi, '%252F'));
    else if (part.toLowerCase() !== text.toLowerCase()) return undefined;
  }
  return params;
}
