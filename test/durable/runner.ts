// Loads durable-functions 3.5.0 unmodified with a stub of `@azure/functions-core` and calls the
// registered functions through the real invocation model: what the host does, in small.
import { createRequire } from 'node:module';
import Module from 'node:module';
import type * as functions from '@azure/functions';
import type * as durable from 'durable-functions';
import type { FunctionRunner, RunnerResult } from '../../infra/local/durable/parts.ts';

interface Metadata {
  name: string;
  bindings: Record<string, { type: string }>;
}
interface InvocationModel {
  getArguments(): Promise<{ context: object; inputs: unknown[] }>;
  invokeFunction(context: object, inputs: unknown[], handler: unknown): Promise<unknown>;
  getResponse(context: object, result: unknown): Promise<unknown>;
}
interface ProgrammingModel {
  getInvocationModel(context: object): InvocationModel;
}

const registered = new Map<string, { metadata: Metadata; handler: unknown }>();
let model: ProgrammingModel | undefined;

const core = {
  version: '1.0.0-stub',
  hostVersion: '4.stub',
  workerVersion: '0.0.0',
  setProgrammingModel: (given: ProgrammingModel) => (model = given),
  getProgrammingModel: () => model,
  registerFunction(metadata: Metadata, handler: unknown) {
    registered.set(metadata.name.toLowerCase(), { metadata, handler });
  },
  registerHook: () => ({ dispose() {} }),
  log() {},
};

const loader = Module as unknown as { _load(request: string, ...rest: unknown[]): unknown };
const load = loader._load.bind(Module);
loader._load = (request, ...rest) =>
  request === '@azure/functions-core' ? core : load(request, ...rest);

const require = createRequire(import.meta.url);
export const df = require('durable-functions') as typeof durable;
export const af = require('@azure/functions') as typeof functions;

const triggerOf = (metadata: Metadata) =>
  Object.entries(metadata.bindings).find(([, binding]) => /trigger$/i.test(binding.type));

/** Name of the binding of a function whose type matches. */
export function bindingNamed(functionName: string, type: RegExp): string {
  const bindings = registered.get(functionName.toLowerCase())?.metadata.bindings ?? {};
  return Object.entries(bindings).find(([, binding]) => type.test(binding.type))?.[0] ?? '';
}

let invocations = 0;

/** Calls a registered function with RPC data by binding name. */
export async function invoke(
  name: string,
  inputs: Record<string, object>,
  onContext?: (context: object) => void,
): Promise<RunnerResult> {
  const found = registered.get(name.toLowerCase());
  if (!found || !model) throw new Error(`${name} is not registered`);
  const invocation = model.getInvocationModel({
    invocationId: `invocation-${++invocations}`,
    metadata: found.metadata,
    request: { inputData: Object.entries(inputs).map(([key, data]) => ({ name: key, data })) },
    log() {},
    state: undefined,
  });
  const { context, inputs: given } = await invocation.getArguments();
  onContext?.(context);
  const result = await invocation.invokeFunction(context, given, found.handler);
  return { result, context };
}

export const runner: FunctionRunner = {
  kindOf(name) {
    const found = registered.get(name.toLowerCase());
    const type = found && triggerOf(found.metadata)?.[1].type;
    if (type === 'orchestrationTrigger') return 'orchestration';
    if (type === 'activityTrigger') return 'activity';
    if (type === 'entityTrigger') return 'entity';
    return undefined;
  },
  run(name, trigger, onContext) {
    const metadata = registered.get(name.toLowerCase())?.metadata;
    const binding = metadata && triggerOf(metadata)?.[0];
    return invoke(name, { [binding ?? '']: trigger }, onContext);
  },
};
