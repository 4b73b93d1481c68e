// What the options of a Service Bus trigger ask for [FH 2.1], and what a listener is given.
import type { ServiceBusReceivedMessage } from '@azure/service-bus';
import type { Clock } from '../../../shared/clock.ts';
import type { Say } from './console.ts';
import { HostFault, unsupported } from './faults.ts';
import type { HostFunction } from './functions.ts';
import type { ServiceBusSettings } from './host-json.ts';

export interface BusTrigger {
  /** `queue`, or `topic/Subscriptions/subscription`; a dead-letter queue by its path. */
  entity: string;
  isSession: boolean;
  /** Cardinality `many`. */
  isBatch: boolean;
  autoComplete: boolean;
  dataType: string | undefined;
  /** Of cardinality `many`; a trigger may override host.json. */
  maxMessageBatchSize: number;
}

export interface ListenerOptions {
  fn: HostFunction;
  trigger: BusTrigger;
  connection: string;
  settings: ServiceBusSettings;
  clock: Clock;
  say: Say;
  /** Runs the handler, on one message or on a batch; rejects with what it threw. */
  handle: (messages: readonly ServiceBusReceivedMessage[]) => Promise<void>;
}

export interface Listener {
  /** Takes nothing new; resolves when what was taken is settled and the connections are closed. */
  stop(): Promise<void>;
}

/** Throws on what this host cannot do, by name. */
export function readBusTrigger(fn: HostFunction, settings: ServiceBusSettings): BusTrigger {
  const { trigger } = fn;
  const [fault] = settings.unsupported;
  if (fault !== undefined) throw unsupported(fault);
  const cardinality = String(trigger['cardinality'] ?? 'one').toLowerCase();
  if (cardinality !== 'one' && cardinality !== 'many') {
    throw new HostFault(`cardinality '${cardinality}' is neither 'one' nor 'many'`);
  }
  const dataType = trigger['dataType'] === undefined ? undefined : String(trigger['dataType']);
  if (dataType?.toLowerCase() === 'stream') throw unsupported("dataType 'stream'");
  const auto = trigger['autoCompleteMessages'] ?? settings.autoCompleteMessages;
  const size = Number(trigger['maxMessageBatchSize'] ?? settings.batch.maxMessages);
  if (!Number.isInteger(size) || size < 1) {
    throw new HostFault(`maxMessageBatchSize ${String(trigger['maxMessageBatchSize'])}`);
  }
  return {
    entity: entityOf(fn),
    isSession: String(trigger['isSessionsEnabled']).toLowerCase() === 'true',
    isBatch: cardinality === 'many',
    autoComplete: String(auto).toLowerCase() === 'true',
    dataType,
    maxMessageBatchSize: size,
  };
}

function entityOf({ trigger }: HostFunction): string {
  const text = (key: string): string => {
    const value = trigger[key];
    if (typeof value !== 'string' || value === '') throw new HostFault(`${key} is missing`);
    return value;
  };
  if (trigger['topicName'] === undefined) return text('queueName');
  return `${text('topicName')}/Subscriptions/${text('subscriptionName')}`;
}
