// Binding expressions of the real host [FH 1.11]: `{name}` in an option of an output binding. PURE.
import { HostFault } from './faults.ts';

/** What expressions may name, beside `{rand-guid}`, `{DateTime}` and `{sys.…}`. */
export interface BindingData {
  functionName: string;
  now: number;
  guid: () => string;
  /** Trigger metadata, route parameters, top-level fields of a JSON body; case does not count. */
  values: Record<string, unknown>;
}

/** Replaces every `{…}`; throws when one names nothing. */
export function expand(text: string, data: BindingData): string {
  return text.replace(/\{([^{}]+)\}/g, (whole, expression: string) => {
    const value = valueOf(expression.trim(), data);
    if (value === undefined) {
      throw new HostFault(`No value for named parameter '${expression}' in '${whole}'.`);
    }
    return value;
  });
}

function valueOf(expression: string, data: BindingData): string | undefined {
  const instant = new Date(data.now).toISOString().replace(/\.\d+Z$/, 'Z');
  switch (expression.toLowerCase()) {
    case 'rand-guid':
    case 'sys.randguid':
      return data.guid();
    case 'datetime':
    case 'sys.utcnow':
      return instant;
    case 'sys.methodname':
      return data.functionName;
    default:
      return textAt(expression.toLowerCase().split('.'), data.values);
  }
}

function textAt(path: readonly string[], from: unknown): string | undefined {
  let at = from;
  for (const part of path) {
    if (typeof at !== 'object' || at === null) return undefined;
    const found = Object.entries(at).find(([key]) => key.toLowerCase() === part);
    at = found?.[1];
  }
  if (at === undefined || at === null || typeof at === 'object') return undefined;
  return String(at);
}
