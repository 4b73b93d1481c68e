// What an answer looks like on the wire: the headers every answer has, the body of an error.

import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';

import { minimumCharge } from './charge.ts';
import { codeWord, CosmosError } from './errors.ts';
import { CosmosFault, type CosmosRequestInfo } from './intercept.ts';
import type { Reply } from './request.ts';
import { sessionToken } from './session.ts';
import type { Storage } from './storage.ts';

/** The answer for whatever was thrown. */
export function errorReply(error: unknown): Reply {
  if (error instanceof CosmosFault) {
    const { status, message, substatus, retryAfterMs } = error;
    const options = {
      ...(substatus !== undefined && { substatus }),
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    };
    return errorReply(new CosmosError(status, message, options));
  }
  if (!(error instanceof CosmosError)) {
    return errorReply(new CosmosError(500, `The local server failed: ${String(error)}`));
  }
  const headers: string[] = [];
  if (error.substatus !== undefined) headers.push('x-ms-substatus', String(error.substatus));
  if (error.retryAfterMs !== undefined) {
    headers.push('x-ms-retry-after-ms', String(error.retryAfterMs));
  }
  const { additionalErrorInfo } = error;
  const text = JSON.stringify({
    code: codeWord(error.status),
    message: error.message,
    ...(additionalErrorInfo !== undefined && { additionalErrorInfo }),
  });
  return { status: error.status, charge: minimumCharge, headers, text };
}

export interface Answer {
  reply: Reply;
  info: CosmosRequestInfo | undefined;
}

/** Writes an answer. */
export function send(outgoing: ServerResponse, { reply, info }: Answer, storage: Storage): void {
  const lsn = String(storage.lsn);
  const isEmpty = reply.status === 304 || reply.status === 204;
  const text = isEmpty ? '' : (reply.bytes ?? reply.text ?? '');
  const headers = [
    'content-type',
    'application/json',
    'x-ms-activity-id',
    randomUUID(),
    'x-ms-request-charge',
    String(Math.round(reply.charge * 100) / 100),
    'x-ms-session-token',
    sessionToken(storage.lsn),
    'lsn',
    lsn,
    'x-ms-gatewayversion',
    '2.0.0',
    'x-ms-schemaversion',
    '1.19',
    'x-ms-resource-quota',
    'functions=25;storedProcedures=100;triggers=25;documentSize=0;documentsSize=10485760;' +
      'documentsCount=-1;collectionSize=10485760;',
  ];
  if (reply.etag !== undefined) headers.push('etag', reply.etag);
  if (reply.headers) headers.push(...reply.headers);
  if (info?.container !== undefined && info.database !== undefined) {
    const path = encodeURI(`dbs/${info.database}/colls/${info.container}`);
    headers.push('x-ms-alt-content-path', path);
    const rid = storage.container(info.database, info.container)?.rid;
    if (rid !== undefined) headers.push('x-ms-content-path', rid);
  }
  if (reply.status !== 304 && reply.status !== 204) {
    headers.push(
      'content-length',
      String(typeof text === 'string' ? Buffer.byteLength(text) : text.length),
    );
  }
  outgoing.writeHead(reply.status, headers);
  outgoing.end(text);
}
