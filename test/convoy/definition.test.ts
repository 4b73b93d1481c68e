import { expect, test } from 'vitest';
import { z } from 'zod';
import { DefinitionError, defineConvoy } from '../../shared/convoy/definition.ts';

const schema = z.object({ n: z.number() });
const good = {
  name: 'good',
  schema,
  initialState: { sum: 0 },
  apply: (state: { sum: number }) => state,
};

test('a definition gets its defaults', () => {
  expect(defineConvoy(good)).toMatchObject({
    name: 'good',
    queue: 'good',
    retry: { attempts: 1, firstDelaySeconds: 1, factor: 2, maxDelaySeconds: 300 },
    lingerSeconds: 5,
    dedupSeconds: 604_800,
  });
});

test('the handler knows the type of its body from the schema', () => {
  const definition = defineConvoy({
    ...good,
    apply: (state, message) => ({ sum: state.sum + message.body.n }),
  });

  expect(definition.name).toBe('good');
});

test('a wrong definition lists every fault with what to change', () => {
  const wrong = {
    ...good,
    name: 'Bad Name',
    initialState: { at: new Date(0) },
    dedupSeconds: 60,
    lanes: 0,
    colour: 'red',
    gap: { waitSeconds: 5 },
    version: 3,
    upcast: { 1: (body: unknown) => body, 3: (body: unknown) => body },
    windows: [
      { name: 'w', kind: 'session', seconds: 0, value: () => 1, rollUp: {} },
      { name: 'h', kind: 'hopping', seconds: 3_600, everySeconds: 10, value: () => 1 },
      { name: 'c', kind: 'tumbling', calendar: { timeZone: 'Mars/Olympus' }, value: () => 1 },
      { name: 'c', kind: 'sliding', seconds: 5, value: () => 1, late: 'forget' },
    ],
  };
  // @ts-expect-error what a JavaScript user can still write
  const define = () => defineConvoy(wrong);

  expect(define).toThrow(DefinitionError);
  expect(define).toThrow(/name: 'Bad Name'/);
  expect(define).toThrow(/initialState: must be a JSON value/);
  expect(define).toThrow(/dedupSeconds: must be at least 3600/);
  expect(define).toThrow(/lanes: must be 1 to 64 lanes/);
  expect(define).toThrow(/colour: unknown/);
  expect(define).toThrow(/gap: only with order: 'sender'/);
  expect(define).toThrow(/upcast.3: must be a version below 3/);
  expect(define).toThrow(/upcast.2: missing/);
  expect(define).toThrow(/windows 'w': gapSeconds: a session needs/);
  expect(define).toThrow(/windows 'w': rollUp: session windows do not roll up/);
  expect(define).toThrow(/windows 'h': everySeconds: at most 64 windows per event/);
  expect(define).toThrow(/windows 'c': calendar.timeZone: 'Mars\/Olympus'/);
  expect(define).toThrow(/windows 'c': kind 'sliding' must be/);
  expect(define).toThrow(/windows 'c': the name is used twice/);
  expect(define).toThrow(/windows 'c': late 'forget' must be/);
});
