// Starting and steering instances over HTTP [reference/durable.md 9.2, 10, 11].
//
// Invariants: R1 of api.ts.
import { sleep } from '../../../shared/clock.ts';
import { accepted, hasJsonType, json, jsonText, missing, refuse } from './api-call.ts';
import { refuseArgument, refuseState, type ApiCall } from './api-call.ts';
import { show } from './api-queries.ts';
import { deliver } from './delivery.ts';
import { releaseLock } from './entity-messages.ts';
import { eventType, type InboundEvent } from './history.ts';
import type { HubResponse } from './parts.ts';
import { instanceIdFault, isoMs, isTerminal, newExecutionId } from './instances.ts';
import { postMessage, startInstance, type Start } from './instances.ts';
import { rewindInstance } from './rewind.ts';
import type { HubStorage, InstanceItem } from './storage.ts';

export async function start(call: ApiCall): Promise<HubResponse> {
  const { parts, request } = call;
  const [, name = '', givenId] = call.path;
  const id = givenId ?? newExecutionId();
  const fault = instanceIdFault(id);
  if (fault) return refuseArgument(fault);
  const input = jsonText(request.body);
  if (input === undefined) return refuse(400, 'Invalid JSON content.');
  const version = request.query.get('version') ?? parts.settings.versions?.current ?? '';
  return begin(call, { id, name, version, input, parent: null });
}

/** Starts; with `timeout` and `pollingInterval` it waits for the end that long. */
async function begin(call: ApiCall, wanted: Start): Promise<HubResponse> {
  const { parts, request, links } = call;
  const { storage, runner, clock, settings } = parts;
  const { id, name } = wanted;
  if (runner.kindOf(name) !== 'orchestration') {
    return refuseArgument(
      `The function '${name}' doesn't exist, is disabled, or is not an orchestrator function.`,
    );
  }
  let freed: string[] = [];
  const isStarted = await storage.commit(() => {
    if (settings.mayReplaceRunning) freed = dropRunning(storage, id);
    return startInstance(storage, wanted, clock.now());
  });
  for (const entityId of freed) parts.wakeEntity(entityId);
  parts.usage.storageTransactions += isStarted ? 4 : 1;
  if (!isStarted) {
    return refuse(409, `An Orchestration instance with the ID ${id} already exists.`);
  }
  parts.wake(id);
  await parts.intercept({ kind: 'instance-started', instanceId: id, name });
  const [timeoutMs, intervalMs] = ['timeout', 'pollingInterval'].map((key) => {
    const seconds = Number.parseFloat(request.query.get(key) ?? '');
    return Number.isNaN(seconds) ? undefined : seconds * 1_000;
  });
  if (timeoutMs !== undefined && intervalMs !== undefined) {
    const item = await untilEnded(call, id, { timeoutMs, intervalMs });
    if (item?.status === 'Completed') return { ...json(200, null), body: item.output ?? '' };
    if (item) return show(call, id);
  }
  const payload = links(id);
  return json(202, payload, { location: payload.statusQueryGetUri, 'retry-after': '10' });
}

/** overridableExistingInstanceStates AnyState; returns the entities that it had locked. */
function dropRunning(storage: HubStorage, id: string): string[] {
  storage.dropInstance(id);
  const freed = storage.entities.lockedBy(id);
  for (const entityId of freed) releaseLock(storage, entityId, id);
  return freed;
}

const intervalMsMin = 10;

/** The instance when it has ended in time. */
async function untilEnded(
  { parts }: ApiCall,
  id: string,
  wait: { timeoutMs: number; intervalMs: number },
): Promise<InstanceItem | undefined> {
  const { clock, storage } = parts;
  const giveUpAt = clock.now() + wait.timeoutMs;
  for (;;) {
    const item = storage.instance(id);
    if (item && isTerminal(item.status)) return item;
    const leftMs = giveUpAt - clock.now();
    if (leftMs <= 0) return undefined;
    await sleep(clock, Math.min(Math.max(wait.intervalMs, intervalMsMin), leftMs));
  }
}

export async function raise(call: ApiCall, id: string): Promise<HubResponse> {
  const { parts, request, path } = call;
  const name = path[3] ?? '';
  if (!hasJsonType(request)) {
    return refuse(400, 'Only application/json request content is supported');
  }
  const input = jsonText(request.body);
  if (input === undefined || input === null) return refuse(400, 'Invalid JSON content.');
  if (/^\d+$/.test(name)) {
    // The SDK keeps tasks and events under one key space: "0" would complete task 0.
    return refuse(400, `The local hub refuses the numeric event name '${name}'.`);
  }
  const event: InboundEvent = {
    EventType: eventType.eventRaised,
    EventId: -1,
    Timestamp: isoMs(parts.clock.now()),
    Name: name,
    Input: input,
  };
  try {
    await parts.intercept({ kind: 'event-accepted', instanceId: id, name });
  } catch {
    return accepted(); // a test loses it, as a queue of Azure may
  }
  const refused = await deliverEvent(call, id, event);
  if (refused) return refused;
  await parts.intercept({ kind: 'event-raised', instanceId: id, name });
  return accepted();
}

async function deliverEvent(
  call: ApiCall,
  id: string,
  event: InboundEvent,
): Promise<HubResponse | undefined> {
  let refused: HubResponse | undefined;
  const isDelivered = await deliver(call.parts, async () => {
    refused ??= await post(call, id, event);
  });
  // However bad the way behind it is, the door knows who is there.
  return isDelivered || call.parts.storage.instance(id) ? refused : missing(id);
}

/** [R1] */
async function post(
  { parts }: ApiCall,
  id: string,
  event: InboundEvent,
): Promise<HubResponse | undefined> {
  const { storage } = parts;
  const refused = await storage.commit(() => {
    const item = storage.instance(id);
    if (!item) return missing(id);
    if (isTerminal(item.status)) {
      return refuse(410, `The instance '${id}' has ended: ${item.status}.`);
    }
    const isSuspended = item.status === 'Suspended';
    if (event.EventType === eventType.executionSuspended && isSuspended) {
      return refuseState('Cannot suspend orchestration instance in the Suspended state.');
    }
    if (event.EventType === eventType.executionResumed && !isSuspended) {
      return refuseState(`Cannot resume orchestration instance in the ${item.status} state.`);
    }
    postMessage(storage, id, event);
    return undefined;
  });
  parts.usage.storageTransactions += refused ? 1 : 3;
  if (!refused) parts.wake(id);
  else if (refused.status === 410) {
    const what = event.EventType === eventType.eventRaised ? `event ${event.Name}` : 'a request';
    parts.log('warning', `${what} to ${id} is lost: the instance has ended (the SDK hides this)`);
  }
  return refused;
}

export async function control(
  call: ApiCall,
  id: string,
  type: 3 | typeof eventType.executionSuspended | typeof eventType.executionResumed,
): Promise<HubResponse> {
  const reason = call.request.query.get('reason') ?? '';
  const stamp = { EventId: -1, Timestamp: isoMs(call.parts.clock.now()) };
  const refused = await post(call, id, {
    EventType: type,
    ...stamp,
    Input: JSON.stringify(reason),
  });
  return refused ?? accepted();
}

export async function rewind({ parts, request }: ApiCall, id: string): Promise<HubResponse> {
  const { storage, clock } = parts;
  const reason = request.query.get('reason') ?? '';
  const answer = await storage.commit(() => {
    const item = storage.instance(id);
    if (!item) return { refused: missing(id), woken: [] };
    if (item.status !== 'Failed') {
      const text = 'The rewind operation is only supported on failed orchestration instances.';
      return { refused: refuse(412, text), woken: [] };
    }
    return {
      refused: undefined,
      woken: rewindInstance(storage, item, { reason, nowMs: clock.now() }),
    };
  });
  parts.usage.storageTransactions += 4;
  for (const instanceId of answer.woken) parts.wake(instanceId);
  return answer.refused ?? accepted();
}

/** Starts the same function with the same input, by default under a new id. */
export async function restart(call: ApiCall, id: string): Promise<HubResponse> {
  const item = call.parts.storage.instance(id);
  if (!item) return refuse(404, `An orchestration with the instanceId ${id} was not found.`);
  const isNew = call.request.query.get('restartWithNewInstanceId')?.toLowerCase() !== 'false';
  const { name, version, input } = item;
  return begin(call, { id: isNew ? newExecutionId() : id, name, version, input, parent: null });
}
