// CORS as core tools do it [FH 5.1, 1.8]: preflights are answered by the host, never by functions;
// without `Host.CORS` in local.settings.json there is none.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { CorsSettings } from './settings.ts';

/** Sets the headers of an allowed origin; true = it was a preflight, and it is answered. */
export function applyCors(
  { origins, isCredentialed }: CorsSettings,
  request: IncomingMessage,
  response: ServerResponse,
): boolean {
  const { origin } = request.headers;
  if (origins.length === 0 || origin === undefined) return false;
  const isAny = origins.includes('*');
  const method = request.headers['access-control-request-method'];
  const isPreflight = request.method === 'OPTIONS' && method !== undefined;
  if (isAny || origins.some((one) => one.toLowerCase() === origin.toLowerCase())) {
    // a wildcard and credentials exclude each other
    response.setHeader('access-control-allow-origin', isAny && !isCredentialed ? '*' : origin);
    if (!isAny || isCredentialed) response.appendHeader('vary', 'Origin');
    if (isCredentialed) response.setHeader('access-control-allow-credentials', 'true');
    if (isPreflight) {
      response.setHeader('access-control-allow-methods', method);
      const headers = request.headers['access-control-request-headers'];
      if (headers !== undefined) response.setHeader('access-control-allow-headers', headers);
    }
  }
  if (isPreflight) response.writeHead(204).end();
  return isPreflight;
}
