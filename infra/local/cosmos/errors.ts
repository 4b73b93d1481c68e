// The errors the server answers with. Cosmos speaks HTTP status plus a code word in the body; the
// client reads `message` of every 4xx/5xx body [CO 12.3].

const codeOfStatus: Record<number, string> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  405: 'MethodNotAllowed',
  409: 'Conflict',
  410: 'Gone',
  412: 'PreconditionFailed',
  413: 'RequestEntityTooLarge',
  424: 'FailedDependency',
  429: 'TooManyRequests',
  449: 'RetryWith',
  500: 'InternalServerError',
  501: 'NotImplemented',
  503: 'ServiceUnavailable',
};

/** The code word Azure puts into the body of an error with this status. */
export function codeWord(status: number): string {
  return codeOfStatus[status] ?? 'Error';
}

export interface CosmosErrorOptions {
  substatus?: number;
  retryAfterMs?: number;
  /** Beside code and message in the body. */
  additionalErrorInfo?: string;
}

/** An answer that is an error; thrown by operations, turned into HTTP by the server. */
export class CosmosError extends Error {
  readonly status: number;
  readonly substatus: number | undefined;
  readonly retryAfterMs: number | undefined;
  readonly additionalErrorInfo: string | undefined;
  constructor(status: number, message: string, options: CosmosErrorOptions = {}) {
    super(message);
    this.status = status;
    this.substatus = options.substatus;
    this.retryAfterMs = options.retryAfterMs;
    this.additionalErrorInfo = options.additionalErrorInfo;
  }
}

export const badRequest = (message: string): CosmosError => new CosmosError(400, message);

export const notFound = (substatus?: number): CosmosError =>
  new CosmosError(
    404,
    'Entity with the specified id does not exist in the system.',
    substatus === undefined ? {} : { substatus },
  );

/** The database or container itself is missing: Azure tells it apart by substatus 1003. */
export const ownerNotFound = (): CosmosError =>
  new CosmosError(404, 'Owner resource does not exist.', { substatus: 1003 });

export const conflict = (
  message = 'Entity with the specified id already exists in the system.',
): CosmosError => new CosmosError(409, message);

export const preconditionFailed = (): CosmosError =>
  new CosmosError(
    412,
    'Operation cannot be performed because one of the specified precondition is not met.',
  );

export const tooLarge = (): CosmosError => new CosmosError(413, 'Request size is too large.');

export const methodNotAllowed = (): CosmosError => new CosmosError(405, 'Method not allowed.');

/** Known to Azure, not to this server: refused by name. */
export const notSupported = (what: string): CosmosError =>
  new CosmosError(501, `${what}: not supported by the local Cosmos DB server.`);
