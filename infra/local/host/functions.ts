// Which registered functions this host runs, and which it refuses, by name and reason
// [FH 1.3, 1.11]. FH = reference functions-host.md, SB = service-bus.md.
import type { RegisteredFunction } from './core-module.ts';
import { HostFault, messageOf, unsupported } from './faults.ts';
import { readRetryPolicy, type RetryPolicy } from './retry.ts';
import type { Binding } from './rpc.ts';
import { isDisabled, resolvePercents } from './settings.ts';

export type TriggerKind =
  'http' | 'timer' | 'serviceBus' | 'warmup' | 'orchestration' | 'activity' | 'entity';

/** A Service Bus output binding; `$return` is the handler's return value. */
export interface OutputBinding {
  name: string;
  /** Queue or topic; may hold `{expressions}`. */
  entity: string;
  connection: unknown;
}

/** A function this host can run. */
export interface HostFunction {
  name: string;
  kind: TriggerKind;
  /** As registered, e.g. `serviceBusTrigger`. */
  triggerType: string;
  /** The generated name of the trigger binding. */
  triggerName: string;
  /** Options of the trigger, `%NAME%` resolved. */
  trigger: Binding;
  /** Names of the durableClient inputs. */
  durableClients: readonly string[];
  outputs: readonly OutputBinding[];
  retry: RetryPolicy | undefined;
  registered: RegisteredFunction;
}

export interface Sorted {
  functions: HostFunction[];
  disabled: RegisteredFunction[];
  refused: { name: string; reason: string }[];
}

const kinds: Record<string, TriggerKind> = {
  httptrigger: 'http',
  timertrigger: 'timer',
  servicebustrigger: 'serviceBus',
  orchestrationtrigger: 'orchestration',
  warmuptrigger: 'warmup',
  activitytrigger: 'activity',
  entitytrigger: 'entity',
};
const functionName = /^[a-z][a-z0-9_-]{0,127}$/i;

/** Sorts what an app registered, alphabetically as the real host lists it [FH 1.16 (6)]. */
export function sortFunctions(
  registered: Iterable<RegisteredFunction>,
  allowed: readonly string[] | undefined,
): Sorted {
  const sorted: Sorted = { functions: [], disabled: [], refused: [] };
  const byName = [...registered].sort((a, b) => compareNames(a.metadata.name, b.metadata.name));
  const isAllowed = (name: string): boolean =>
    !allowed || allowed.some((other) => compareNames(other, name) === 0);
  for (const one of byName) {
    const { name } = one.metadata;
    if (!isAllowed(name)) continue;
    if (isDisabled(name)) {
      sorted.disabled.push(one);
      continue;
    }
    try {
      sorted.functions.push(readFunction(one));
    } catch (error) {
      sorted.refused.push({ name, reason: messageOf(error) });
    }
  }
  return sorted;
}

/** OrdinalIgnoreCase: upper-cased, by code unit. */
export function compareNames(a: string, b: string): number {
  const [x, y] = [a.toUpperCase(), b.toUpperCase()];
  return x < y ? -1 : x > y ? 1 : 0;
}

function readFunction(registered: RegisteredFunction): HostFunction {
  const { name, bindings, retryOptions } = registered.metadata;
  if (!functionName.test(name) || compareNames(name, 'host') === 0) {
    throw new HostFault(`'${name}' is not a valid function name.`);
  }
  const entries = Object.entries(bindings);
  const triggers = entries.filter(([, binding]) => /trigger$/i.test(binding.type));
  const [triggerName, trigger] = triggers[0] ?? [];
  if (triggers.length !== 1 || triggerName === undefined || !trigger) {
    throw new HostFault(`a function has exactly one trigger, this one has ${triggers.length}`);
  }
  const kind = kinds[trigger.type.toLowerCase()];
  if (!kind) throw unsupported(`trigger type '${trigger.type}'`);
  const others = entries.filter(([, binding]) => binding !== trigger);
  const resolved = resolveOptions(trigger);
  if (isDeferred(resolved)) throw unsupported('sdkBinding (deferred binding)');
  return {
    name,
    kind,
    triggerType: trigger.type,
    triggerName,
    trigger: resolved,
    ...readOthers(others, kind),
    retry: readRetryPolicy(retryOptions),
    registered,
  };
}

function readOthers(
  others: readonly [string, Binding][],
  kind: TriggerKind,
): Pick<HostFunction, 'durableClients' | 'outputs'> {
  const durableClients: string[] = [];
  const outputs: OutputBinding[] = [];
  for (const [name, binding] of others) {
    const isOutput = binding.direction === 'out';
    if (isDurableClient(binding)) durableClients.push(name);
    else if (isOutput && /^serviceBus$/i.test(binding.type)) {
      outputs.push(readOutput(name, resolveOptions(binding)));
    } else if (!(kind === 'http' && name === '$return' && /^http$/i.test(binding.type))) {
      throw unsupported(`${isOutput ? 'output' : 'input'} binding type '${binding.type}'`);
    }
  }
  return { durableClients, outputs };
}

/** `queueName` or `topicName` of an output binding; throws when it has neither. */
function readOutput(name: string, options: Binding): OutputBinding {
  const entity = options['queueName'] ?? options['topicName'];
  if (typeof entity !== 'string' || entity === '') {
    throw new HostFault(`output '${name}' names neither queueName nor topicName`);
  }
  return { name, entity, connection: options['connection'] };
}

function isDurableClient(binding: Binding): boolean {
  return binding.direction === 'in' && /^(durableClient|orchestrationClient)$/i.test(binding.type);
}

function isDeferred(trigger: Binding): boolean {
  const properties = trigger['properties'] as { supportsDeferredBinding?: unknown } | undefined;
  return String(properties?.supportsDeferredBinding).toLowerCase() === 'true';
}

function resolveOptions(trigger: Binding): Binding {
  const resolved: Binding = { ...trigger };
  for (const [key, value] of Object.entries(trigger)) {
    if (typeof value === 'string') resolved[key] = resolvePercents(value);
  }
  return resolved;
}
