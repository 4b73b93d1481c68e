// `convoy verify`: whether the chain of a key, or of every key of a convoy, holds.
import type { Command } from 'commander';
import { type ApiFlags, apiFlags, callApi, isRecord, keyPath } from './api.ts';
import { exitCodes, note, printJson, printLine } from './output.ts';
import type { Global } from './serve.ts';

type Flags = ApiFlags & Global;

/** A long key takes a while; front ends of Azure wait 230 s. */
const answerWithinMs = 220_000;
const pageKeys = 200;
const keysAtOnce = 8;
const brokenShown = 100;

type Arguments = [convoy: string, key: string | undefined, flags: unknown, command: Command];

export function addVerifyCommand(program: Command, ended: (code: number) => void): void {
  apiFlags(program.command('verify'))
    .description('check the hash chain over the settled messages of a key, or of all keys')
    .argument('<convoy>')
    .argument('[key]')
    .action(async (...[convoy, key, , command]: Arguments) => {
      const flags = command.optsWithGlobals<Flags>();
      const isIntact =
        key === undefined
          ? await verifyAll(flags, convoy)
          : shown(flags, await verifyOne(flags, convoy, key));
      ended(isIntact ? exitCodes.ok : exitCodes.no);
    });
}

function verifyOne(flags: Flags, convoy: string, key: string): Promise<unknown> {
  return callApi(flags, { method: 'GET', path: keyPath(convoy, key, 'verify'), answerWithinMs });
}

/** Prints the answer for one key; whether its chain holds. */
function shown(flags: Flags, answer: unknown): boolean {
  printLine(JSON.stringify(answer, undefined, flags.json ? 0 : 2));
  return isRecord(answer) && answer['ok'] === true;
}

/** Page after page; the broken ones are told at once, the rest is counted. */
async function verifyAll(flags: Flags, convoy: string): Promise<boolean> {
  const sums = { convoy, keys: 0, broken: 0, checked: 0, dead: 0, parked: 0, senderGaps: 0 };
  const broken: unknown[] = [];
  let continuation: string | undefined;
  do {
    const page = await callApi(flags, {
      method: 'GET',
      path: '/api/convoys',
      query: { convoy, limit: String(pageKeys), continuation },
    });
    const items = isRecord(page) && Array.isArray(page['items']) ? page['items'] : [];
    const keys = items.filter(isRecord).map((item) => String(item['key']));
    for (let at = 0; at < keys.length; at += keysAtOnce) {
      const some = keys.slice(at, at + keysAtOnce);
      const answers = await Promise.all(some.map((key) => verifyOne(flags, convoy, key)));
      for (const answer of answers.filter(isRecord)) {
        sums.keys += 1;
        sums.checked += Number(answer['checked']);
        sums.dead += isRecord(answer['dead']) ? Number(answer['dead']['count']) : 0;
        sums.parked += lengthOf(answer['parked']);
        sums.senderGaps += lengthOf(answer['senderGaps']);
        if (answer['ok'] === true) continue;
        sums.broken += 1;
        note(`broken: ${convoy}/${String(answer['key'])} ${JSON.stringify(answer['firstBreak'])}`);
        if (broken.length < brokenShown) broken.push(answer);
      }
    }
    const next = isRecord(page) ? page['continuation'] : undefined;
    continuation = typeof next === 'string' ? next : undefined;
    if (continuation !== undefined) note(`${sums.keys} keys, ${sums.broken} broken so far`);
  } while (continuation !== undefined);
  const isIntact = sums.broken === 0;
  if (flags.json) printJson({ ...sums, ok: isIntact, brokenKeys: broken });
  else for (const line of summed(sums)) printLine(line);
  return isIntact;
}

const lengthOf = (value: unknown): number => (Array.isArray(value) ? value.length : 0);

function summed(sums: Record<string, number | string>): string[] {
  const verdict = sums['broken'] === 0 ? 'intact' : `${sums['broken']} broken`;
  return [
    `${sums['convoy']}: ${sums['keys']} keys, ${sums['checked']} links recomputed: ${verdict}`,
    `${sums['parked']} parked, ${sums['dead']} given up by the broker, ` +
      `${sums['senderGaps']} holes in the senders' numbers`,
  ];
}
