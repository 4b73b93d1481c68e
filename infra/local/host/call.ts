// One run of a function, as a trigger asks for it.
import type { RpcRetryContext, TypedData } from './rpc.ts';

/** What a trigger wants run. */
export interface Call {
  data: TypedData;
  triggerMetadata?: Record<string, TypedData>;
  /** W3C trace parent of the caller. */
  traceParent?: string;
  retryContext?: RpcRetryContext | undefined;
  /** Sees the id that the run has got, before the worker does. */
  onStart?: (invocationId: string) => void;
  /** For the Executing line [FH 5.3]. */
  reason: string;
  details?: () => string;
  onContext?: (context: object) => void;
  wantsResponse: boolean;
}
