// Output bindings for Service Bus [FH 2.11]: what the real host sends for what a handler returned
// or set. Source of the conversions: FunctionBinding.BindAsyncCollectorAsync and the converters of
// the Service Bus extension.
//
// U1 An array is one message per element; so is a text that is a JSON array.
// U2 An object, and a text that is a JSON object, is sent as Newtonsoft prints it: indented.
// U3 Messages go one by one, in order, as application/octet-stream, and carry the id of the
//    invocation. Nothing else can be set: a session-enabled entity refuses them.
// U4 A message that cannot be sent fails the invocation.
import { randomUUID } from 'node:crypto';
import type { ServiceBusClient, ServiceBusSender } from '@azure/service-bus';
import type { Clock } from '../../../shared/clock.ts';
import { expand, type BindingData } from './expressions.ts';
import type { HostFunction } from './functions.ts';
import type { Call } from './call.ts';
import type { InvocationResponse, TypedData } from './rpc.ts';
import { openClient } from './service-bus-clients.ts';
import type { ServiceBusSettings } from './host-json.ts';
import { connectionString } from './settings.ts';

export interface Outputs {
  /** Sends what an invocation put out; rejects when one cannot be sent [U4]. */
  send(fn: HostFunction, call: Call, response: InvocationResponse): Promise<void>;
  close(): Promise<void>;
}

export interface OutputsOptions {
  settings: ServiceBusSettings;
  clock: Clock;
}

export function createOutputs({ settings, clock }: OutputsOptions): Outputs {
  const clients = new Map<string, ServiceBusClient>();
  const senders = new Map<string, ServiceBusSender>();
  const senderOf = (connection: string, entity: string): ServiceBusSender => {
    const key = `${connection}\n${entity}`;
    let sender = senders.get(key);
    if (!sender) {
      let client = clients.get(connection);
      if (!client) clients.set(connection, (client = openClient(connection, settings)));
      senders.set(key, (sender = client.createSender(entity)));
    }
    return sender;
  };
  return {
    async send(fn, call, response) {
      for (const output of fn.outputs) {
        const data =
          output.name === '$return'
            ? response.returnValue
            : response.outputData?.find(({ name }) => name === output.name)?.data;
        if (!data) continue;
        const entity = expand(output.entity, bindingData(fn, call, clock.now()));
        const sender = senderOf(connectionString(output.connection), entity);
        for (const body of outputBodies(data)) {
          await sender.sendMessages({
            body,
            contentType: 'application/octet-stream',
            applicationProperties: { $AzureWebJobsParentId: response.invocationId }, // [U3]
          });
        }
      }
    },
    async close() {
      // senders end with their client
      await Promise.all([...clients.values()].map((client) => client.close().catch(() => {})));
    },
  };
}

/** The bodies of the messages that one value becomes [U1, U2]. */
export function outputBodies(data: TypedData): Buffer[] {
  if (data.bytes) return [Buffer.from(data.bytes)];
  if (data.string !== undefined) return elementsOfText(data.string).map(bodyOf);
  if (data.json !== undefined) {
    const value: unknown = JSON.parse(data.json);
    return (Array.isArray(value) ? value : [value]).map(bodyOf);
  }
  return [bodyOf(data.int ?? data.double ?? '')];
}

/** Utility.IsJson looks at the ends only; what then cannot be parsed fails the invocation. */
function elementsOfText(text: string): unknown[] {
  if (!/^\s*(?:\{[\s\S]*\}|\[[\s\S]*\])\s*$/.test(text)) return [text];
  const value: unknown = JSON.parse(text);
  return Array.isArray(value) ? value : [value];
}

function bodyOf(value: unknown): Buffer {
  if (typeof value === 'string') return Buffer.from(value);
  if (typeof value === 'boolean') return Buffer.from(value ? 'True' : 'False');
  if (value === null) return Buffer.alloc(0);
  return Buffer.from(JSON.stringify(value, null, 2)); // [U2]
}

function bindingData(fn: HostFunction, call: Call, now: number): BindingData {
  const values: Record<string, unknown> = {};
  const { http, string } = call.data;
  for (const [name, param] of Object.entries(http?.nullableParams ?? {})) {
    values[name] = param.value;
  }
  for (const [name, { string: text, json }] of Object.entries(call.triggerMetadata ?? {})) {
    values[name] = json === undefined ? text : JSON.parse(json);
  }
  const text = string ?? (http?.body?.bytes && Buffer.from(http.body.bytes).toString());
  if (text?.trimStart().startsWith('{')) {
    try {
      Object.assign(values, JSON.parse(text));
    } catch {
      // not JSON: it names nothing
    }
  }
  return { functionName: fn.name, now, guid: randomUUID, values };
}
