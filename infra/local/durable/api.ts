// The durable HTTP API that the durable client calls [reference/durable.md 9.2, 10]: its routes.
//
// Owns:    routes and what every answer shares.
// Leaves:  what a route does to api-changes.ts, api-queries.ts, api-entities.ts; sockets, keys and
//          base paths to the host.
//
// Invariants:
//   R1. A check and the write it guards are one change: what was answered 202 was accepted by an
//       instance that was not terminal at that moment. It may still be lost later, as on Azure.
//   R2. What is not offered is refused by name with 501.
import { headerOf, refuse, refuseState, type ApiCall } from './api-call.ts';
import { control, raise, restart, rewind, start } from './api-changes.ts';
import { onEntity } from './api-entities.ts';
import { list, purgeMany, purgeOne, show } from './api-queries.ts';
import { textOf } from './fault.ts';
import { eventType } from './history.ts';
import type { HubParts, HubRequest, HubResponse } from './parts.ts';
import { managementUrls, type BindingUrls } from './status.ts';

export interface Api {
  handle(request: HubRequest): Promise<HubResponse>;
  /** The addresses that answers should name. */
  publishAt(urls: BindingUrls): void;
  close(): void;
}

export function openApi(parts: HubParts, taskHubName: string): Api {
  let urls: BindingUrls | undefined;
  let isClosed = false;
  return {
    publishAt(published) {
      urls = published;
    },
    close() {
      isClosed = true;
    },
    async handle(request) {
      if (isClosed) return refuse(503, 'The task hub is stopping.');
      const host = headerOf(request, 'host') ?? 'localhost';
      const webhookBaseUrl = `http://${host}/runtime/webhooks/durabletask`;
      const known = urls ?? { rpcBaseUrl: '', webhookBaseUrl };
      try {
        const path = request.path.split('?')[0]?.split('/').map(decodeURIComponent) ?? [];
        while (path.length > 1 && path.at(-1) === '') path.pop();
        const links = (id: string) => managementUrls(taskHubName, known, id);
        return await route({ parts, request, path, links });
      } catch (error) {
        if (error instanceof URIError) return refuse(400, 'The path is not well encoded.');
        parts.log('error', `durable API ${request.method} ${request.path}: ${textOf(error)}`);
        return refuseState(textOf(error));
      }
    },
  };
}

async function route(call: ApiCall): Promise<HubResponse> {
  const { method } = call.request;
  const [area, first] = call.path;
  const shape = `${method} ${area}/${call.path.length - 1}`;
  if (area === 'entities' && call.path.length <= 3) return onEntity(call);
  if (shape === 'POST orchestrators/1' || shape === 'POST orchestrators/2') return start(call);
  if (shape === 'GET instances/0') return list(call);
  if (shape === 'DELETE instances/0') return purgeMany(call);
  if (shape === 'GET instances/1' && first !== undefined) return show(call, first);
  if (shape === 'DELETE instances/1' && first !== undefined) return purgeOne(call, first);
  if (method === 'POST' && area === 'instances' && first !== undefined) {
    const answer = await change(call, first);
    if (answer) return answer;
  }
  if (area === 'makeprimary') return refuse(501, 'makeprimary is not supported by the local hub.');
  return refuse(404, `No such route: ${method} ${call.request.path}`);
}

function change(call: ApiCall, id: string): Promise<HubResponse> | undefined {
  const verb = call.path[2]?.toLowerCase();
  if (verb === 'raiseevent' && call.path.length === 4) return raise(call, id);
  if (call.path.length !== 3) return undefined;
  if (verb === 'terminate') return control(call, id, eventType.executionTerminated);
  if (verb === 'suspend') return control(call, id, eventType.executionSuspended);
  if (verb === 'resume') return control(call, id, eventType.executionResumed);
  if (verb === 'rewind') return rewind(call, id);
  if (verb === 'restart') return restart(call, id);
  return undefined;
}
