// The table of the HTTP API: CONTRACT §5 as data.
//
// T1. The host matches routes in alphabetical order of function names, first match wins
//     (functions-host.md 1.8): names here sort specific before general, and the last one takes all.
// T2. A wrong method matches no route and would be an empty 404 of the host; the last route answers
//     it with a problem that names what there is.
// T3. No answer is cached; HEAD and OPTIONS are not listed, so the host answers these.
import type { HttpMethod, HttpResponseInit } from '@azure/functions';
import { ConvoyError } from '../../shared/errors.ts';
import { actOnConvoy, enqueue, replayFromQuarantine } from './actions.ts';
import type { OperatorDeps, Surroundings } from './deps.ts';
import { showHealth } from './health.ts';
import { showConvoy, showLanes } from './lanes.ts';
import { boardPage, boardPolicy } from './page.ts';
import { problemResponse } from './problem.ts';
import {
  listConvoys,
  listMessages,
  listQuarantine,
  listRollUps,
  listWindows,
  showStats,
} from './reads.ts';
import { verifyKey } from './verification.ts';
import type { Call } from './request.ts';

type Answer = (surroundings: Surroundings, call: Call) => Promise<object>;

const withDeps =
  (answer: (deps: OperatorDeps, call: Call) => Promise<object>): Answer =>
  async (surroundings, call) =>
    answer(await surroundings.deps(), call);

export interface Route {
  /** Function name on the host. */
  name: string;
  methods: HttpMethod[];
  route: string;
  answer: Answer;
  /** Whether the route talks to the durable hub. */
  needsHub?: boolean;
  /** Status of a successful answer. Default 200. */
  status?: number | ((answer: object) => number);
}

const get: HttpMethod[] = ['GET'];
const post: HttpMethod[] = ['POST'];

const isFailing = (answer: object): boolean => 'status' in answer && answer.status === 'failing';

/** Sorted by name as the host sorts them [T1]. */
export const routes: readonly Route[] = [
  { name: 'apiConvoys', methods: get, route: 'convoys', answer: withDeps(listConvoys) },
  {
    name: 'apiConvoyShow',
    methods: get,
    route: 'convoys/{convoy}/{key}',
    answer: withDeps(showConvoy),
    needsHub: true,
  },
  {
    name: 'apiEnqueue',
    methods: post,
    route: 'convoys/{convoy}/{key}/messages',
    answer: withDeps(enqueue),
    status: 202,
  },
  {
    name: 'apiHealth',
    methods: get,
    route: 'health',
    answer: ({ health }, call) => showHealth(health, call),
    status: (answer) => (isFailing(answer) ? 503 : 200),
  },
  { name: 'apiLanes', methods: get, route: 'lanes/{convoy}', answer: withDeps(showLanes) },
  {
    name: 'apiMessages',
    methods: get,
    route: 'convoys/{convoy}/{key}/messages',
    answer: withDeps(listMessages),
  },
  {
    name: 'apiOperate',
    methods: post,
    route: 'convoys/{convoy}/{key}/{action}',
    answer: withDeps(actOnConvoy),
    status: 202,
    needsHub: true,
  },
  {
    name: 'apiQuarantine',
    methods: get,
    route: 'quarantine/{convoy}',
    answer: withDeps(listQuarantine),
  },
  {
    name: 'apiQuarantineReplay',
    methods: post,
    route: 'quarantine/{convoy}/{id}/replay',
    answer: withDeps(replayFromQuarantine),
    status: 202,
    needsHub: true,
  },
  {
    name: 'apiRollUps',
    methods: get,
    route: 'windows/{convoy}/{window}',
    answer: withDeps(listRollUps),
  },
  { name: 'apiStats', methods: get, route: 'stats', answer: withDeps(showStats) },
  {
    name: 'apiVerify',
    methods: get,
    route: 'convoys/{convoy}/{key}/verify',
    answer: withDeps(verifyKey),
  },
  {
    name: 'apiWindows',
    methods: get,
    route: 'convoys/{convoy}/{key}/windows',
    answer: withDeps(listWindows),
  },
  {
    name: 'zzApiUnknown',
    methods: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'],
    route: '{*rest}',
    answer: noSuchRoute,
  },
];

async function noSuchRoute(_surroundings: Surroundings, call: Call): Promise<object> {
  const path = call.params['rest'] ?? '';
  throw new ConvoyError(
    'CVY_NOT_FOUND',
    `no route takes this method on /api/${path}; see /api/board or the contract of the API`,
  );
}

/** Runs a route: its answer as JSON, or the problem of whatever it threw. */
export async function respond(
  route: Route,
  call: Call,
  surroundings: Surroundings,
): Promise<HttpResponseInit> {
  try {
    const answer = await route.answer(surroundings, call);
    const status = typeof route.status === 'function' ? route.status(answer) : route.status;
    return {
      status: status ?? 200,
      headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
      body: JSON.stringify(answer),
    };
  } catch (error) {
    surroundings.onError(error);
    return problemResponse(error);
  }
}

/** The board: the only anonymous route; it holds no data. */
export function boardResponse(): HttpResponseInit {
  return {
    headers: {
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-cache',
      'content-security-policy': boardPolicy,
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
    },
    body: boardPage,
  };
}
