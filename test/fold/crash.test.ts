// Any crash point, one after the other: a calm run counts its calls of store, broker and hub; then
// every single one of them goes wrong in turn, before or after its effect, and of short stories
// every two. What comes out is the fold each time.
import { expect, test } from 'vitest';
import type { Case } from './cases.ts';
import { plainWindow } from './cases.ts';
import { everyFault, everyPair } from './crash-points.ts';
import { message, send, story } from './regressions.ts';
import type { Plan } from './world.ts';

const limit = { timeout: 600_000 };
const session = { ...plainWindow, kind: 'session' } as const;
const hopping = { ...plainWindow, kind: 'hopping', late: 'next', early: 2 } as const;

const stories: Record<string, { given: Case; chunk: number }> = {
  'windows that close and are amended, a refusal, a repeat': {
    chunk: 3,
    given: story(
      { windows: [{ ...plainWindow, reduces: true }, hopping] },
      send(
        ...[message(5), message(6, { kind: 'reject' }), message(40)],
        ...[message(7), message(7, { again: 1 }), message(90)],
      ),
      { step: 'silence' },
    ),
  },
  'sessions that are joined, taken back and opened again': {
    chunk: 1,
    given: story({ windows: [session] }, send(message(0), message(15), message(40), message(8))),
  },
  'a parked lane, healed after the next version is deployed': {
    chunk: 2,
    given: story(
      { onPoison: 'park-lane', attempts: 2 },
      send(message(0), message(1, { kind: 'broken' }), message(2), message(3)),
      ...[
        { step: 'mend' } as const,
        { step: 'deploy' } as const,
        { step: 'act', choice: 0 } as const,
      ],
      send(message(4, { version: 2 })),
    ),
  },
  'an effect that fails twice, in the order of the sender': {
    chunk: 1_000,
    given: story(
      { order: 'sender', hasEffect: true, attempts: 3 },
      send(
        message(1, { sp: 2, kind: 'effectFails' }),
        message(0, { sp: 1 }),
        message(2, { sp: 3 }),
      ),
    ),
  },
  'many outputs, then the convoy completes': {
    chunk: 1_000,
    given: story(
      { windows: [plainWindow], afterComplete: 'park' },
      send(message(0, { kind: 'many' }), message(9, { kind: 'complete' }), message(8)),
      ...[{ step: 'act', choice: 0 } as const],
    ),
  },
};

const namesOf = Object.keys(stories);

test.each(namesOf)('one call goes wrong: %s', limit, async (name) => {
  const { given, chunk } = storyOf(name);

  const { wrong, runs } = await everyFault(given, { chunk });

  expect(wrong).toEqual([]);
  expect(runs).toBeGreaterThan(50);
});

test('two calls go wrong: a message and its repeat', limit, async () => {
  const given = story({ windows: [plainWindow] }, send(message(0), message(0, { again: 1 })));

  const { wrong, runs } = await everyPair(given, { chunk: 1_000 });

  expect(wrong).toEqual([]);
  expect(runs).toBeGreaterThan(100);
});

/** Breaks one rule in what reaches the store; some crash point must show it. */
const sabotages: Record<string, NonNullable<Plan['sabotage']>> = {
  'H11 without reading the outbox': (store) => ({ ...store, readOutbox: async () => [] }),
  'W4 without the closed sessions': (store) => ({ ...store, readSessions: async () => [] }),
};

test.each(Object.keys(sabotages))('a broken rule is found: %s', limit, async (name) => {
  const { given } = storyOf('sessions that are joined, taken back and opened again');
  const sabotage = sabotages[name];

  const { wrong } = await everyFault(given, { chunk: 1, ...(sabotage && { sabotage }) });

  expect(wrong.length).toBeGreaterThan(0);
});

function storyOf(name: string): { given: Case; chunk: number } {
  const known = stories[name];
  if (known === undefined) throw new Error(name);
  return known;
}
