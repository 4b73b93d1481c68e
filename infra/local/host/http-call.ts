// One HTTP request that has found its function.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { HostFunction } from './functions.ts';

export interface HttpCall {
  fn: HostFunction;
  params: Record<string, string>;
  request: IncomingMessage;
  response: ServerResponse;
}
