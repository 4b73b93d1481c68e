// The data sets as streams for convoys: how each is sent, what its truth is, and what a running app
// made of it, seen through the HTTP API only.
import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { toPathKey } from '../../shared/keys.ts';
import type { Api } from './doors.ts';
import { dataFile, idsDigest, readTruth, sha256 } from './shared-data.ts';

export interface Stream {
  /** Folder of the data set, and its file. */
  set: 'incidents' | 'retail-ledger' | 'cats-gps';
  file: 'events-smoke.csv' | 'events.csv.gz';
  convoy: string;
  /** Deliver late and repeated; for convoys in the sender's order. */
  isShuffled: boolean;
}

export interface Digests {
  events: number;
  keys: number;
  keys_sha256: string;
  windows_sha256: string;
  /** SHA-256 over `key\tvalue\n` of the figure that the set is known for. */
  figures_sha256: string;
}

interface KeyTruth {
  final_state: string;
  balance?: number;
  climb_cm?: number;
}

interface SummaryTruth {
  events: number;
  keys: number;
  digests: { keys_sha256: string; windows_sha256: string };
}

const sets = [
  ['incidents', 'incidents'],
  ['retail-ledger', 'ledger'],
  ['cats-gps', 'telemetry'],
] as const;

/** Each set into its convoy as recorded, then into the convoy in the sender's order, shuffled. */
export function streamsOf(file: Stream['file']): Stream[] {
  return [false, true].flatMap((isShuffled) =>
    sets.map(([set, name]): Stream => {
      return { set, file, convoy: isShuffled ? `${name}-by-seq` : name, isShuffled };
    }),
  );
}

const isSmoke = ({ file }: Stream): boolean => file === 'events-smoke.csv';

function truthOf<Truth>({ set, file }: Stream, what: 'summary' | 'keys'): Truth {
  if (isSmoke({ file } as Stream)) return readTruth<Truth>(set, `expected-${what}-smoke.json`);
  const zipped = what === 'keys' && set !== 'cats-gps' ? '.gz' : '';
  return readTruth<Truth>(set, `expected-${what}.json${zipped}`);
}

/** The truth that another program computed. */
export function expectedDigests(stream: Stream): Digests {
  const { events, keys, digests } = truthOf<SummaryTruth>(stream, 'summary');
  const figures = Object.entries(truthOf<Record<string, KeyTruth>>(stream, 'keys')).map(
    ([key, { final_state, balance, climb_cm }]): [string, string | number] => [
      key,
      balance ?? climb_cm ?? final_state,
    ],
  );
  const { keys_sha256, windows_sha256 } = digests;
  return { events, keys, keys_sha256, windows_sha256, figures_sha256: figuresDigest(figures) };
}

const byBytes = ([a]: [string, ...unknown[]], [b]: [string, ...unknown[]]): number =>
  Buffer.compare(Buffer.from(a), Buffer.from(b));

function figuresDigest(figures: [string, string | number][]): string {
  return sha256(
    figures
      .sort(byBytes)
      .map((one) => `${one.join('\t')}\n`)
      .join(''),
  );
}

const columns = '--key key --id event_id --type type --time ts'.split(' ');

/** Arguments of `convoy send`, and what to feed its standard input with. */
export function sendArguments(stream: Stream): { args: string[]; input: Readable | undefined } {
  const file = dataFile(stream.set, stream.file);
  const to = ['send', stream.convoy, ...columns];
  if (!stream.isShuffled) return { args: [...to, '--file', file], input: undefined };
  const flags = [dataFile('deliver.mjs'), file, '--late', '200', '--dup', '20'];
  const child = spawn(process.execPath, flags, { stdio: ['ignore', 'pipe', 'inherit'] });
  const args = [...to, '--file', '-', '--format', 'ndjson', '--position', 'seq'];
  return { args, input: child.stdout };
}

interface Seen {
  key: string;
  line: string;
  windows: string[];
  figure: string | number;
  events: number;
}

/** What the app made of the stream: two lists and one answer per key, `atOnce` keys at a time. */
export async function seenDigests(
  api: Api,
  { convoy }: Stream,
  onProgress: (keys: number, of: number) => void = () => {},
): Promise<Digests> {
  const summaries = await api.list<{ key: string }>(`/convoys?convoy=${convoy}`);
  const queue = summaries.map(({ key }) => key);
  const seen: Seen[] = [];
  const work = async (): Promise<void> => {
    for (let key = queue.pop(); key !== undefined; key = queue.pop()) {
      seen.push(await seenOf(api, convoy, key));
      onProgress(seen.length, summaries.length);
    }
  };
  await Promise.all(Array.from({ length: 8 }, work));
  seen.sort((a, b) => byBytes([a.key], [b.key]));
  return {
    events: seen.reduce((sum, { events }) => sum + events, 0),
    keys: seen.length,
    keys_sha256: sha256(seen.map(({ line }) => line).join('')),
    windows_sha256: sha256(seen.flatMap(({ windows }) => windows).join('')),
    figures_sha256: figuresDigest(seen.map(({ key, figure }) => [key, figure])),
  };
}

interface WindowSeen {
  start: string;
  count: number;
  sum: number;
  min: number;
  max: number;
}

async function seenOf(api: Api, convoy: string, key: string): Promise<Seen> {
  const path = `/convoys/${convoy}/${toPathKey(key)}`;
  const [messages, windows, { state }] = await Promise.all([
    api.list<{ messageId: string; settlement?: number; outcome: string }>(`${path}/messages`),
    api.list<WindowSeen>(`${path}/windows`),
    api.show(convoy, key),
  ]);
  const applied = messages
    .filter(({ outcome }) => outcome === 'applied')
    .sort((a, b) => (a.settlement ?? 0) - (b.settlement ?? 0));
  const order = idsDigest(applied.map(({ messageId }) => messageId));
  const lines = windows
    .sort((a, b) => Date.parse(a.start) - Date.parse(b.start))
    .map(({ start, count, sum, min, max }) => {
      return `${[key, start, count, sum, min, max].join('\t')}\n`;
    });
  const figure = state['balance'] ?? state['climbCm'] ?? state['status'];
  return {
    key,
    line: `${key}\t${messages.length}\t${order}\n`,
    windows: lines,
    figure: typeof figure === 'number' ? figure : String(figure),
    events: messages.length,
  };
}
