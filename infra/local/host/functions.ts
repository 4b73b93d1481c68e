// Which registered functions this host runs, and which it refuses, by name and reason
// [FH 1.3, 1.11]. FH = reference functions-host.md, SB = service-bus.md.
import type { RegisteredFunction } from './core-module.ts';
import type { Binding } from './rpc.ts';
import { isDisabled, resolvePercents } from './settings.ts';

export type TriggerKind = 'http' | 'timer' | 'serviceBus' | 'orchestration' | 'activity' | 'entity';

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
  registered: RegisteredFunction;
}

export interface Sorted {
  functions: HostFunction[];
  disabled: string[];
  refused: { name: string; reason: string }[];
}

const kinds: Record<string, TriggerKind> = {
  httptrigger: 'http',
  timertrigger: 'timer',
  servicebustrigger: 'serviceBus',
  orchestrationtrigger: 'orchestration',
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
      sorted.disabled.push(name);
      continue;
    }
    try {
      sorted.functions.push(readFunction(one));
    } catch (error) {
      sorted.refused.push({ name, reason: error instanceof Error ? error.message : String(error) });
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
  const { name, bindings } = registered.metadata;
  if (!functionName.test(name) || compareNames(name, 'host') === 0) {
    throw new Error(`'${name}' is not a valid function name.`);
  }
  const entries = Object.entries(bindings);
  const triggers = entries.filter(([, binding]) => /trigger$/i.test(binding.type));
  const [triggerName, trigger] = triggers[0] ?? [];
  if (triggers.length !== 1 || triggerName === undefined || !trigger) {
    throw new Error(`a function has exactly one trigger, this one has ${triggers.length}`);
  }
  const kind = kinds[trigger.type.toLowerCase()];
  if (!kind) throw new Error(`trigger type '${trigger.type}' is not supported by the local host`);
  const durableClients: string[] = [];
  for (const [bindingName, binding] of entries) {
    if (binding === trigger) continue;
    if (isDurableClient(binding)) durableClients.push(bindingName);
    else if (!(kind === 'http' && bindingName === '$return' && /^http$/i.test(binding.type))) {
      const way = binding.direction === 'out' ? 'output' : 'input';
      throw new Error(`${way} binding type '${binding.type}' is not supported by the local host`);
    }
  }
  const resolved = resolveOptions(trigger);
  if (isDeferred(resolved)) {
    throw new Error('sdkBinding (deferred binding) is not supported by the local host');
  }
  const { type: triggerType } = trigger;
  return { name, kind, triggerType, triggerName, trigger: resolved, durableClients, registered };
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
