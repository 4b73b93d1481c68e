// Histories recorded from earlier versions of the orchestrator replay without diverging. RECORD=1
// writes those that are missing; what stands is never rewritten.
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Answer, type Recording, record, replay } from './replay.ts';

const folder = import.meta.dirname;
const waiting = { kind: 'waiting', seconds: 5 } as const;
const retryAt = { kind: 'retryAt', at: Date.UTC(2026, 0, 1, 0, 1) } as const;

/** The first version, 2026-11-20: drains, waits, retries, closes, rests. */
const stories: Record<string, Answer[]> = {
  '1-one-message': [{ drain: waiting }, 'timer', { drain: { kind: 'closed' } }],
  '1-woken': [
    { drain: waiting },
    'wake',
    { drain: { kind: 'more' } },
    { drain: waiting },
    'wake',
    { drain: waiting },
    'timer',
    { drain: { kind: 'closed' } },
  ],
  '1-failures': [
    { drainFails: 'the host died' },
    'timer',
    { drain: { kind: 'failed', reason: 'no answer' } },
    'timer',
    { drain: waiting },
    'timer',
    { drain: { kind: 'closed' } },
  ],
  '1-retry-then-held': [
    { drain: { kind: 'retryAt', at: retryAt.at } },
    'timer',
    { drain: { kind: 'rested' } },
  ],
  '1-throttled': [
    { drain: { kind: 'failed', reason: '429', throttled: { by: 'cosmos', retryAfterMs: 1_500 } } },
    'timer',
    { drain: { kind: 'failed', reason: '429', throttled: { by: 'cosmos', retryAfterMs: 20 } } },
    'timer',
    { drain: waiting },
    'timer',
    { drain: { kind: 'closed' } },
  ],
  '1-fenced': [{ drain: { kind: 'fenced' } }],
  '1-generation': Array.from({ length: 40 }, (): Answer => ({ drain: { kind: 'more' } })),
};

const input = { convoy: 'orders', key: 'A-17', epoch: 1 };

async function recordMissing(): Promise<void> {
  for (const [name, answers] of Object.entries(stories)) {
    const file = join(folder, `${name}.json`);
    if (existsSync(file)) continue;
    writeFileSync(file, `${JSON.stringify(await record(input, answers), undefined, 1)}\n`);
  }
}

if (process.env['RECORD'] === '1') await recordMissing();

const recordings = readdirSync(folder).filter((name) => name.endsWith('.json'));

test.each(recordings)('%s replays as it was', async (name) => {
  const recording = JSON.parse(readFileSync(join(folder, name), 'utf8')) as Recording;

  const outcome = await replay(recording);

  expect(JSON.parse(JSON.stringify(outcome))).toEqual(recording.outcome);
});

test('every story is recorded, and together they meet every result of a drain', () => {
  const files = Object.keys(stories).map((name) => `${name}.json`);
  const kinds = Object.values(stories)
    .flat()
    .flatMap((answer) =>
      typeof answer === 'object' && 'drain' in answer ? answer.drain.kind : [],
    );

  expect(recordings).toEqual(expect.arrayContaining(files));
  expect([...new Set(kinds)].sort()).toEqual([
    'closed',
    'failed',
    'fenced',
    'more',
    'rested',
    'retryAt',
    'waiting',
  ]);
});
