// The commands that look at keys and act on them, through the HTTP API only.
import { userInfo } from 'node:os';
import type { Command } from 'commander';
import { apiFlags, callApi, isRecord, keyPath } from './api.ts';
import type { ApiFlags } from './api.ts';
import { aligned, exitCodes, printJson, printLine } from './output.ts';
import { wholeNumber } from './serve.ts';
import type { Global } from './serve.ts';

type Flags = ApiFlags & Global;

interface ListFlags extends Flags {
  convoy?: string;
  status?: string;
  parked?: true;
  backlog?: true;
  hot?: true;
  limit?: number;
  continuation?: string;
}

interface ShowFlags extends Flags {
  messages?: true;
  windows?: true;
  outcome?: string;
  from?: number;
}

interface ActFlags extends Flags {
  reason?: string;
  expectedCursor?: number;
  by?: string;
}

/** What commander hands to the action of a command on one key. */
type KeyArguments = [convoy: string, key: string, flags: unknown, command: Command];

/** What an operator can do to a key, in the order of `--help`. */
const actions: readonly (readonly [verb: string, description: string])[] = [
  ['pause', 'take no further message of the key'],
  ['resume', 'go on with a paused key'],
  ['retry', 'try the message a key is held at again, now'],
  ['skip', 'leave the message a key is held at out, and go on'],
  ['park', 'set the message a key is held at aside, and go on'],
  ['cancel', 'end the convoy of the key'],
];

export function addOperateCommands(program: Command, ended: (code: number) => void): void {
  apiFlags(program.command('list'))
    .description('list keys: phase, backlog, hold')
    .option('--convoy <name>', 'only of this convoy')
    .option('--status <s>', 'idle, active, held, none, retrying, blocked, paused or publishing')
    .option('--parked', 'only with parked messages')
    .option('--backlog', 'only with backlog')
    .option('--hot', 'only keys without a pause for 30 s, and what limits them')
    .option('--limit <n>', 'at most so many', wholeNumber(1, 500))
    .option('--continuation <token>', 'go on where the last list ended')
    .action(async (_, command: Command) => {
      const flags = command.optsWithGlobals<ListFlags>();
      const answer = await callApi(flags, {
        method: 'GET',
        path: '/api/convoys',
        query: {
          convoy: flags.convoy,
          status: flags.status,
          parked: flags.parked && 'true',
          backlog: flags.backlog && 'true',
          hot: flags.hot && 'true',
          limit: flags.limit?.toString(),
          continuation: flags.continuation,
        },
      });
      if (flags.json) printJson(answer);
      else for (const line of listed(answer)) printLine(line);
      ended(exitCodes.ok);
    });

  apiFlags(program.command('show'))
    .description('show one key: state, hold, windows; or its messages')
    .argument('<convoy>')
    .argument('<key>')
    .option('--messages', 'the messages of the key in order')
    .option('--windows', 'the windows of the key')
    .option('--outcome <o>', 'only messages with this outcome')
    .option('--from <position>', 'only messages from this position on', wholeNumber(1))
    .action(async (...[convoy, key, , command]: KeyArguments) => {
      const flags = command.optsWithGlobals<ShowFlags>();
      const part = flags.messages ? ['messages'] : flags.windows ? ['windows'] : [];
      const answer = await callApi(flags, {
        method: 'GET',
        path: keyPath(convoy, key, ...part),
        query: { outcome: flags.outcome, from: flags.from?.toString() },
      });
      printLine(JSON.stringify(answer, undefined, flags.json ? 0 : 2));
      ended(exitCodes.ok);
    });

  for (const [verb, description] of actions) addAction(program, { verb, description, ended });
}

interface Action {
  verb: string;
  description: string;
  ended: (code: number) => void;
}

function addAction(program: Command, { verb, description, ended }: Action): void {
  apiFlags(program.command(verb))
    .description(description)
    .argument('<convoy>')
    .argument('<key>')
    .requiredOption('--reason <text>', 'why; recorded with the action')
    .option('--by <name>', 'who; default: the name of the user here')
    .option('--expected-cursor <n>', 'refuse when the key has moved on since', wholeNumber(0))
    .action(async (...[convoy, key, , command]: KeyArguments) => {
      const flags = command.optsWithGlobals<ActFlags>();
      const answer = await callApi(flags, {
        method: 'POST',
        path: keyPath(convoy, key, verb),
        body: {
          reason: flags.reason,
          by: flags.by ?? userInfo().username,
          expectedCursor: flags.expectedCursor,
        },
      });
      printLine(JSON.stringify(answer, undefined, flags.json ? 0 : 2));
      ended(exitCodes.ok);
    });
}

function listed(answer: unknown): string[] {
  const items = isRecord(answer) && Array.isArray(answer['items']) ? answer['items'] : [];
  if (items.length === 0) return ['no keys'];
  const heading = ['CONVOY', 'KEY', 'PHASE', 'EPOCH', 'BACKLOG', 'AGE s', 'HOLD', 'HOT'];
  const lines = items.filter(isRecord).map((item) => {
    const hold = item['hold'];
    const kind = isRecord(hold) ? hold['kind'] : hold;
    const cells = [item['convoy'], item['key'], item['phase'], item['epoch'], item['backlog']];
    return [...cells, item['headAgeSeconds'], kind, hotCell(item['hot'])].map(cell);
  });
  const continuation = isRecord(answer) ? answer['continuation'] : undefined;
  const more = typeof continuation === 'string' ? [`more: --continuation ${continuation}`] : [];
  return [...aligned([heading, ...lines]), ...more];
}

/** Messages per second and what limits them. */
function hotCell(hot: unknown): string | null {
  if (!isRecord(hot)) return null;
  return `${String(hot['messagesPerSecond'])}/s ${String(hot['limit'])}`;
}

function cell(value: unknown): string | number {
  if (typeof value === 'number') return value;
  return typeof value === 'string' ? value : value === undefined || value === null ? '-' : '?';
}
