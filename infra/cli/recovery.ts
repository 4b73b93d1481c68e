// The commands that bring messages back: replay of parked and dead-lettered ones, and of those in
// quarantine. Through the HTTP API only.
import { userInfo } from 'node:os';
import type { Command } from 'commander';
import { type ApiFlags, apiFlags, callApi, isRecord, keyPath } from './api.ts';
import { aligned, exitCodes, note, printJson, printLine } from './output.ts';
import { type Global, wholeNumber } from './serve.ts';

interface Flags extends ApiFlags, Global {
  reason: string;
  by?: string;
}

interface ReplayFlags extends Flags {
  dead?: true;
  perSecond?: number;
  expectedCursor?: number;
}

type Arguments = [convoy: string, keyOrId: string, flags: unknown, command: Command];

export function addRecoveryCommands(program: Command, ended: (code: number) => void): void {
  why(program.command('replay'))
    .description('replay parked messages of a key in order, or (--dead) dead-lettered ones')
    .argument('<convoy>')
    .argument('<key>')
    .option('--dead', 'the messages that the broker gave up on')
    .option('--per-second <n>', 'with --dead: at most so many a second', wholeNumber(1, 1_000))
    .option('--expected-cursor <n>', 'refuse when the key has moved on since', wholeNumber(0))
    .action(async (...[convoy, key, , command]: Arguments) => {
      const flags = command.optsWithGlobals<ReplayFlags>();
      const answer = flags.dead
        ? await replayDead(flags, convoy, key)
        : await post(flags, keyPath(convoy, key, 'replay'), {
            expectedCursor: flags.expectedCursor,
          });
      printLine(JSON.stringify(answer, undefined, flags.json ? 0 : 2));
      ended(exitCodes.ok);
    });

  const quarantine = program
    .command('quarantine')
    .description('messages that came without a usable key');
  apiFlags(quarantine.command('list'))
    .description('list them, with what is wrong and what to do')
    .argument('<convoy>')
    .option('--limit <n>', 'at most so many', wholeNumber(1, 500))
    .option('--continuation <token>', 'go on where the last list ended')
    .action(async (convoy: string, _, command: Command) => {
      const flags = command.optsWithGlobals<Flags & { limit?: number; continuation?: string }>();
      const answer = await callApi(flags, {
        method: 'GET',
        path: quarantinePath(convoy),
        query: { limit: flags.limit?.toString(), continuation: flags.continuation },
      });
      if (flags.json) printJson(answer);
      else for (const line of listed(answer)) printLine(line);
      ended(exitCodes.ok);
    });
  why(quarantine.command('replay'))
    .description('admit one of them under a key')
    .argument('<convoy>')
    .argument('<id>')
    .requiredOption('--key <key>', 'the key that it came without')
    .action(async (...[convoy, id, , command]: Arguments) => {
      const flags = command.optsWithGlobals<Flags & { key: string }>();
      const path = quarantinePath(convoy, encodeURIComponent(id), 'replay');
      const answer = await post(flags, path, { key: flags.key });
      printLine(JSON.stringify(answer, undefined, flags.json ? 0 : 2));
      ended(exitCodes.ok);
    });
}

function why(command: Command): Command {
  return apiFlags(command)
    .requiredOption('--reason <text>', 'why; recorded with the action')
    .option('--by <name>', 'who; default: the name of the user here');
}

const quarantinePath = (convoy: string, ...steps: string[]): string =>
  ['', 'api', 'quarantine', encodeURIComponent(convoy), ...steps].join('/');

function post(flags: Flags, path: string, body: object): Promise<unknown> {
  const { reason, by = userInfo().username } = flags;
  return callApi(flags, { method: 'POST', path, body: { ...body, reason, by } });
}

/** Call after call, as each is bounded; the last answer with the sums of all. */
async function replayDead(flags: ReplayFlags, convoy: string, key: string): Promise<unknown> {
  const { perSecond } = flags;
  let { expectedCursor } = flags;
  const sums = { replayed: 0, duplicates: 0 };
  for (;;) {
    const body = { source: 'dead', perSecond, expectedCursor };
    const answer = await post(flags, keyPath(convoy, key, 'replay'), body);
    const report = isRecord(answer) ? answer['replay'] : undefined;
    if (!isRecord(answer) || !isRecord(report)) return answer;
    sums.replayed += Number(report['replayed']);
    sums.duplicates += Number(report['duplicates']);
    if (report['hasMore'] !== true) return { ...answer, replay: { ...sums, hasMore: false } };
    note(`replayed ${sums.replayed + sums.duplicates} so far`);
    expectedCursor = undefined; // our own messages move the key on
  }
}

function listed(answer: unknown): string[] {
  const items = isRecord(answer) && Array.isArray(answer['items']) ? answer['items'] : [];
  if (items.length === 0) return ['nothing in quarantine'];
  const lines = items
    .filter(isRecord)
    .map((item) =>
      ['id', 'code', 'messageId', 'recordedAt', 'replayedKey', 'reason'].map((name) =>
        String(item[name] ?? '-'),
      ),
    );
  const heading = ['ID', 'CODE', 'MESSAGE', 'RECORDED', 'REPLAYED AS', 'REASON'];
  const continuation = isRecord(answer) ? answer['continuation'] : undefined;
  const more = typeof continuation === 'string' ? [`more: --continuation ${continuation}`] : [];
  return [...aligned([heading, ...lines]), ...more];
}
