// The shapes that travel between host and app: what the real host sends its Node worker over gRPC,
// here by reference. Source: reference functions-host.md 1.3-1.13.

/** [FH 1.6] Exactly one field is set; which one decides what the handler sees. */
export interface TypedData {
  string?: string;
  json?: string;
  bytes?: Uint8Array;
  int?: number;
  double?: number;
  http?: RpcHttp;
  collectionBytes?: { bytes: Uint8Array[] };
  collectionString?: { string: string[] };
  collectionSint64?: { sint64: { low: number; high: number; unsigned: boolean }[] };
}

/** `explicitNone` = the app said None; `none` = the app said nothing. */
export interface RpcCookie {
  name?: string;
  value?: string;
  domain?: { value?: string };
  path?: { value?: string };
  expires?: { value?: unknown };
  secure?: { value?: boolean };
  httpOnly?: { value?: boolean };
  sameSite?: string;
  maxAge?: { value?: number };
}

export interface RpcHttp {
  method?: string;
  url?: string;
  nullableHeaders?: Record<string, { value: string }>;
  nullableQuery?: Record<string, { value: string }>;
  nullableParams?: Record<string, { value: string }>;
  body?: TypedData | null;
  statusCode?: string | null;
  headers?: Record<string, string> | null;
  cookies?: RpcCookie[] | null;
}

/** One binding as registered: its type, direction and every option verbatim [FH 1.3]. */
export interface Binding {
  type: string;
  direction: string;
  [option: string]: unknown;
}

export interface FunctionMetadata {
  name: string;
  functionId: string;
  bindings: Record<string, Binding>;
  rawBindings: string[];
  retryOptions?: RpcRetryOptions;
}

export interface RpcDuration {
  seconds?: number;
}

/** [FH 1.3] */
export interface RpcRetryOptions {
  retryStrategy: string;
  /** -1 = for ever. */
  maxRetryCount?: number;
  delayInterval?: RpcDuration;
  minimumInterval?: RpcDuration;
  maximumInterval?: RpcDuration;
}

export interface RpcRetryContext {
  retryCount: number;
  maxRetryCount: number;
  exception?: { message?: string; stackTrace?: string; source?: string };
}

export interface TraceContext {
  traceParent: string;
  traceState: string;
  attributes: Record<string, string>;
}

export interface InvocationRequest {
  invocationId: string;
  functionId: string;
  inputData: { name: string; data: TypedData }[];
  triggerMetadata?: Record<string, TypedData>;
  traceContext?: TraceContext;
  retryContext?: RpcRetryContext;
}

export interface InvocationResponse {
  invocationId: string;
  outputData?: { name: string; data: TypedData }[];
  returnValue?: TypedData | null;
}

export type LogLevel =
  'trace' | 'debug' | 'information' | 'warning' | 'error' | 'critical' | 'none';
export type LogCategory = 'user' | 'system' | 'customMetric';
export type CoreLog = (level: LogLevel, category: LogCategory, message: string) => void;

/** [FH 1.4] What the library's invocation model gets from the worker. */
export interface CoreContext {
  invocationId: string;
  request: InvocationRequest;
  metadata: FunctionMetadata;
  state: 'preInvocationHooks' | 'invocation' | 'postInvocationHooks' | undefined;
  log: CoreLog;
}

export type Handler = (...values: unknown[]) => unknown;

export interface InvocationModel {
  getArguments(): Promise<{ context: object; inputs: unknown[] }>;
  invokeFunction(context: object, inputs: unknown[], handler: Handler): Promise<unknown>;
  getResponse(context: object, result: unknown): Promise<InvocationResponse>;
}

export interface ProgrammingModel {
  name: string;
  version: string;
  getInvocationModel(context: CoreContext): InvocationModel;
  getCapabilities?(
    capabilities: Record<string, string>,
  ): Record<string, string> | Promise<Record<string, string>>;
}
