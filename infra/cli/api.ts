// The HTTP API as the command line sees it: one call, and its "no" in one line.
import type { Command } from 'commander';
import { ConvoyError, errorRegistry, reasonOf } from '../../shared/errors.ts';
import { toPathKey } from '../../shared/keys.ts';
import { readStackAddress } from '../local/data-folder.ts';
import { Refused } from './output.ts';

export interface ApiFlags {
  url?: string;
  code?: string;
  data: string;
}

export interface ApiCall {
  method: 'GET' | 'POST';
  path: string;
  query?: Readonly<Record<string, string | undefined>>;
  body?: unknown;
  /** Default 30 s. */
  answerWithinMs?: number;
}

/** The flags by which a command finds the API. */
export function apiFlags(command: Command): Command {
  return command
    .option('--url <url>', 'address of the app; default: CONVOY_URL, else the local stack')
    .option('--code <key>', 'function key; default: CONVOY_CODE (a flag can be seen by others)')
    .option('--data <dir>', 'data folder of the local stack', '.convoy');
}

const answerWithinMs = 30_000;

/** Where the API is: the flag, CONVOY_URL, the stack on this data folder, the default port. */
export function apiUrl(flags: ApiFlags): string {
  const url =
    flags.url ??
    process.env['CONVOY_URL'] ??
    readStackAddress(flags.data)?.http ??
    'http://localhost:7071';
  return url.replace(/(?<!\/)\/+$/, '');
}

/** The path of one convoy key, with any further steps. */
export function keyPath(convoy: string, key: string, ...steps: string[]): string {
  return ['', 'api', 'convoys', encodeURIComponent(convoy), toPathKey(key), ...steps].join('/');
}

/** Calls the API; throws Refused for a problem answer and CVY_UNREACHABLE for none. */
export async function callApi(flags: ApiFlags, call: ApiCall): Promise<unknown> {
  const url = new URL(apiUrl(flags) + call.path);
  for (const [name, value] of Object.entries(call.query ?? {})) {
    if (value !== undefined) url.searchParams.set(name, value);
  }
  // The key travels as a header: an address ends up in logs.
  const code = flags.code ?? process.env['CONVOY_CODE'];
  let response: Response;
  let text: string;
  try {
    response = await fetch(url, {
      method: call.method,
      headers: {
        ...(code && { 'x-functions-key': code }),
        ...(call.body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(call.body !== undefined && { body: JSON.stringify(call.body) }),
      signal: AbortSignal.timeout(call.answerWithinMs ?? answerWithinMs),
    });
    text = await response.text();
  } catch (error) {
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
    throw new ConvoyError('CVY_UNREACHABLE', `${url.origin}: ${reasonOf(cause)}`, { cause: error });
  }
  const answer = parsed(text);
  if (response.ok) return answer;
  throw new Refused(problemLine(response.status, answer, text), answer);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** `CVY_…: what. Remedy: ….` from problem details; the bare status where the answer is none. */
function problemLine(status: number, answer: unknown, text: string): string {
  const field = (name: string): string | undefined => {
    const value = isRecord(answer) ? answer[name] : undefined;
    return typeof value === 'string' && value.length > 0 ? value : undefined;
  };
  const code = field('code');
  const detail = field('detail') ?? field('title') ?? (text.trim().slice(0, 200) || 'no text');
  if (code && detail.startsWith(code)) return detail;
  const known = Object.entries(errorRegistry).find(([name]) => name === code)?.[1].remedy;
  const remedy = field('remedy') ?? known;
  const line = `${code ?? `HTTP ${status}`}: ${detail.replace(/\.$/, '')}.`;
  return remedy ? `${line} Remedy: ${remedy}.` : line;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
