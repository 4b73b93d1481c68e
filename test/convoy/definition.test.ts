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
    lanes: 4,
    colour: 'red',
    windows: [{ name: 'w', kind: 'session', seconds: 0, value: () => 1 }],
  };
  // @ts-expect-error what a JavaScript user can still write
  const define = () => defineConvoy(wrong);

  expect(define).toThrow(DefinitionError);
  expect(define).toThrow(/name: 'Bad Name'/);
  expect(define).toThrow(/initialState: must be a JSON value/);
  expect(define).toThrow(/dedupSeconds: must be at least 3600/);
  expect(define).toThrow(/lanes: not built yet/);
  expect(define).toThrow(/colour: unknown/);
  expect(define).toThrow(/kind 'session' is not built yet/);
});
