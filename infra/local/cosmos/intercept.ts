// Where a test may wait, fail or lose an answer.

export interface CosmosRequestInfo {
  kind: 'read' | 'create' | 'replace' | 'upsert' | 'delete' | 'patch' | 'batch' | 'query' | 'other';
  database?: string;
  container?: string;
  partitionKey?: unknown[];
  id?: string;
  operations?: readonly {
    operationType: string;
    id?: string;
    resourceBody?: unknown;
    ifMatch?: string;
  }[];
}

/**
 * Named points of a request: `before` runs before the operation is applied, `after` when it is
 * durable but not answered. Throw CosmosFault to answer an error; a fault thrown in `after`
 * models "applied, but the answer says otherwise".
 */
export interface CosmosIntercept {
  before?(request: CosmosRequestInfo): Promise<void> | void;
  after?(request: CosmosRequestInfo, status: number): Promise<void> | void;
}

export interface CosmosFaultOptions {
  retryAfterMs?: number;
  substatus?: number;
  /** Destroy the socket instead of answering. */
  reset?: boolean;
}

/** The answer a test wants instead of the real one. */
export class CosmosFault extends Error {
  readonly status: number;
  readonly retryAfterMs: number | undefined;
  readonly substatus: number | undefined;
  readonly isReset: boolean;
  constructor(status: number, options: CosmosFaultOptions = {}) {
    super(`injected fault ${status}`);
    this.status = status;
    this.retryAfterMs = options.retryAfterMs;
    this.substatus = options.substatus;
    this.isReset = options.reset ?? false;
  }
}
