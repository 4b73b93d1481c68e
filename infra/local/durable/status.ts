// What the hub shows: the status payload, the management links, the client binding.
// [reference/durable.md 9.1, 10]
import { eventType, eventTypeNames, type HistoryEvent } from './history.ts';
import type { InstanceItem } from './storage.ts';

export interface BindingUrls {
  rpcBaseUrl: string;
  webhookBaseUrl: string;
  code?: string;
}

const withSlash = (url: string): string => (url.endsWith('/') ? url : `${url}/`);
const withoutSlash = (url: string): string => (url.endsWith('/') ? url.slice(0, -1) : url);

function queryOf(taskHubName: string, urls: BindingUrls): string {
  const query = new URLSearchParams({ taskHub: taskHubName, connection: 'AzureWebJobsStorage' });
  if (urls.code !== undefined) query.set('code', urls.code);
  return query.toString();
}

/** The links of one instance; `INSTANCEID` is the placeholder of the binding. */
export function managementUrls(taskHubName: string, urls: BindingUrls, id: string) {
  const query = queryOf(taskHubName, urls);
  const instance = `${withoutSlash(urls.webhookBaseUrl)}/instances/${id}`;
  return {
    id,
    statusQueryGetUri: `${instance}?${query}`,
    sendEventPostUri: `${instance}/raiseEvent/{eventName}?${query}`,
    terminatePostUri: `${instance}/terminate?reason={text}&${query}`,
    rewindPostUri: `${instance}/rewind?reason={text}&${query}`,
    purgeHistoryDeleteUri: `${instance}?${query}`,
    restartPostUri: `${instance}/restart?${query}`,
    suspendPostUri: `${instance}/suspend?reason={text}&${query}`,
    resumePostUri: `${instance}/resume?reason={text}&${query}`,
  };
}

/** JSON text of the `durableClient` input; `rpcBaseUrl` must end in a slash. */
export function clientBindingText(taskHubName: string, urls: BindingUrls): string {
  const base = withoutSlash(urls.webhookBaseUrl);
  const code = urls.code === undefined ? '' : `code=${encodeURIComponent(urls.code)}`;
  const create = `${base}/orchestrators/{functionName}[/{instanceId}]`;
  const wait = 'timeout={timeoutInSeconds}&pollingInterval={intervalInSeconds}';
  return JSON.stringify({
    taskHubName,
    connectionName: 'AzureWebJobsStorage',
    creationUrls: {
      createNewInstancePostUri: `${create}?${code}`,
      createAndWaitOnNewInstancePostUri: `${create}?${wait}&${code}`,
    },
    managementUrls: managementUrls(taskHubName, urls, 'INSTANCEID'),
    baseUrl: base,
    requiredQueryStringParameters: code,
    rpcBaseUrl: withSlash(urls.rpcBaseUrl),
  });
}

const isoSeconds = (atMs: number): string => `${new Date(atMs).toISOString().slice(0, 19)}Z`;
const parsed = (text: string | null): unknown => (text === null ? null : JSON.parse(text));

export interface StatusFlags {
  showInput: boolean;
  showHistory: boolean;
  showHistoryOutput: boolean;
}

export function statusPayload(
  item: InstanceItem,
  flags: StatusFlags,
  history: readonly HistoryEvent[],
): object {
  return {
    name: item.name,
    instanceId: item.id,
    runtimeStatus: item.status,
    input: flags.showInput ? parsed(item.input) : null,
    customStatus: parsed(item.customStatus),
    output: parsed(item.output),
    createdTime: isoSeconds(item.createdAt),
    lastUpdatedTime: isoSeconds(item.updatedAt),
    ...(flags.showHistory ? { historyEvents: shownHistory(history, flags) } : {}),
  };
}

/** History as Azure shows it: schedule events folded into their answers, no episode markers. */
function shownHistory(history: readonly HistoryEvent[], flags: StatusFlags): object[] {
  const scheduled = new Map<number, { ScheduledTime: string; FunctionName?: string }>();
  const shown: object[] = [];
  for (const event of history) {
    const head = { EventType: eventTypeNames[event.EventType], Timestamp: event.Timestamp };
    switch (event.EventType) {
      case eventType.taskScheduled:
      case eventType.subOrchestrationCreated:
        scheduled.set(event.EventId, {
          ScheduledTime: event.Timestamp,
          FunctionName: event.Name,
        });
        break;
      case eventType.timerCreated:
        scheduled.set(event.EventId, { ScheduledTime: event.Timestamp });
        break;
      case eventType.orchestratorStarted:
      case eventType.orchestratorCompleted:
        break;
      case eventType.executionStarted: {
        const input = flags.showInput ? { Input: parsed(event.Input) } : {};
        shown.push({ ...head, FunctionName: event.Name, ...input });
        break;
      }
      case eventType.taskCompleted:
      case eventType.subOrchestrationCompleted: {
        const result = flags.showHistoryOutput ? { Result: parsed(event.Result) } : {};
        shown.push({ ...head, ...scheduled.get(event.TaskScheduledId), ...result });
        break;
      }
      case eventType.taskFailed:
      case eventType.subOrchestrationFailed: {
        const { Reason, Details } = event;
        shown.push({ ...head, ...scheduled.get(event.TaskScheduledId), Reason, Details });
        break;
      }
      case eventType.timerFired:
        shown.push({ ...head, ...scheduled.get(event.TimerId), FireAt: event.FireAt });
        break;
      case eventType.eventRaised: {
        const input = flags.showInput && event.Input ? { Input: parsed(event.Input) } : {};
        shown.push({ ...head, Name: event.Name, ...input });
        break;
      }
      case eventType.executionCompleted: {
        const result = flags.showHistoryOutput ? { Result: parsed(event.Result) } : {};
        shown.push({ ...head, OrchestrationStatus: event.OrchestrationStatus, ...result });
        break;
      }
      case eventType.eventSent: {
        const input = flags.showInput ? { Input: parsed(event.Input) } : {};
        shown.push({ ...head, InstanceId: event.InstanceId, Name: event.Name, ...input });
        break;
      }
      case eventType.genericEvent:
        shown.push({ ...head, Data: event.Data });
        break;
      default:
        shown.push({ ...head, Reason: event.Input });
    }
  }
  return shown;
}
