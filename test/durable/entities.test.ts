import { describe, expect, test } from 'vitest';
import type { EntityContext, OrchestrationContext, Task } from 'durable-functions';
import { openTestHub, type TestHub } from './hub-under-test.ts';
import { df } from './runner.ts';

type Orchestrator = Generator<Task, unknown, never>;
type Context = OrchestrationContext;
const counter = (key: string) => new df.EntityId('Counter', key);
const minuteMs = 60_000;

let operations = 0;
df.app.entity('Counter', (context: EntityContext<number>) => {
  const { operationName, entityKey } = context.df;
  const value = context.df.getState(() => 0) ?? 0;
  const input = context.df.getInput<number>() ?? 0;
  switch (operationName) {
    case 'add':
      context.df.setState(value + input);
      context.df.return(value + input);
      break;
    case 'get':
      context.df.return(value);
      break;
    case 'tell':
      context.df.signalEntity(counter(`${entityKey}-told`), 'add', input);
      break;
    case 'fail':
      // oxlint-disable-next-line no-throw-literal -- only text reaches the caller
      throw 'refused';
    case 'delete':
      context.df.destructOnExit();
      break;
    default:
  }
});
df.app.entity('Tally', () => {
  operations++;
});

df.app.orchestration('calls', function* (context: Context): Orchestrator {
  const { key } = context.df.getInput() as { key: string };
  context.df.signalEntity(counter(key), 'add', 5);
  const first = yield context.df.callEntity(counter(key), 'add', 2);
  const second = yield context.df.callEntity(counter(key), 'get');
  return [first, second];
} as never);
df.app.orchestration('meetsError', function* (context: Context): Orchestrator {
  try {
    yield context.df.callEntity(counter('e'), 'fail');
  } catch (error) {
    return (error as Error).message;
  }
  return undefined;
} as never);
df.app.orchestration('transfers', function* (context: Context): Orchestrator {
  const { from, to, ms } = context.df.getInput() as { from: string; to: string; ms: number };
  const lock = (yield context.df.lock(counter(from), counter(to))) as { release(): void };
  const have = (yield context.df.callEntity(counter(from), 'get')) as number;
  const at = new Date(context.df.currentUtcDateTime.getTime() + ms);
  if (ms > 0) yield context.df.createTimer(at);
  // Wrong when anybody else touched it meanwhile.
  yield context.df.callEntity(counter(from), 'add', -have);
  yield context.df.callEntity(counter(to), 'add', have);
  lock.release();
  return have;
} as never);
df.app.orchestration('keepsLock', function* (context: Context): Orchestrator {
  yield context.df.lock(counter('a'), counter('b'));
  return yield context.df.waitForExternalEvent('end');
} as never);
df.app.orchestration('locksAgain', function* (context: Context): Orchestrator {
  yield context.df.lock(counter('x'));
  return yield context.df.lock(counter('y'));
} as never);

const read = async (it: TestHub, key: string): Promise<unknown> => {
  const { status, body } = await it.call('GET', `entities/counter/${key}`);
  return status === 200 ? JSON.parse(body) : status;
};
const signal = (it: TestHub, key: string, op: string, input?: unknown) =>
  it.call('POST', `entities/Counter/${key}?op=${op}`, input);

describe('entities', () => {
  test('answer calls in the order in which one orchestrator sent', async () => {
    await using it = openTestHub();
    await it.start('calls', 'c', { key: 'k' });
    await it.settle();

    expect((await it.status('c')).output).toEqual([7, 7]);
    expect(await read(it, 'k')).toBe(7);
  });

  test('take signals of clients, tell others, and go when they say so', async () => {
    await using it = openTestHub();
    expect(await read(it, 's')).toBe(404);
    for (const amount of [1, 2, 3]) {
      expect((await signal(it, 's', 'add', amount)).status).toBe(202);
    }
    await signal(it, 's', 'tell', 9);
    await it.settle();
    expect([await read(it, 's'), await read(it, 's-told')]).toEqual([6, 9]);

    expect((await it.call('DELETE', 'entities/counter/s')).status).toBe(202);
    await it.settle();

    expect(await read(it, 's')).toBe(404);
  });

  test('give their errors to the caller', async () => {
    await using it = openTestHub();
    await it.start('meetsError', 'e');
    await it.settle();

    expect((await it.status('e')).output).toBe('refused');
  });

  test('are listed with their state, shown among the instances, and purged by id', async () => {
    await using it = openTestHub();
    for (const key of ['a', 'b', 'c']) await signal(it, key, 'add', 1);
    await it.settle();

    const first = await it.call('GET', 'entities/Counter?top=2&fetchState=true');
    expect(JSON.parse(first.body)).toEqual([
      expect.objectContaining({ entityId: { name: 'counter', key: 'a' }, state: 1 }),
      expect.objectContaining({ entityId: { name: 'counter', key: 'b' }, state: 1 }),
    ]);
    expect(first.headers).toHaveProperty('x-ms-continuation-token');
    const all = await it.call('GET', 'instances?instanceIdPrefix=@counter@');
    expect(JSON.parse(all.body)).toHaveLength(3);
    expect(await it.status('@counter@a')).toMatchObject({
      name: '@counter',
      runtimeStatus: 'Running',
      input: { exists: true, state: '1' },
      customStatus: { entityExists: true },
    });

    expect((await it.call('DELETE', 'instances/@counter@a')).status).toBe(200);
    expect((await it.call('DELETE', 'instances/@counter@a')).status).toBe(404);
    expect(await read(it, 'a')).toBe(404);
  });

  test('an empty key is written $', async () => {
    await using it = openTestHub();
    await signal(it, '$', 'add', 4);
    await it.settle();

    expect(await read(it, '$')).toBe(4);
    expect((await it.status('@counter@')).runtimeStatus).toBe('Running');
  });

  test('one batch takes what has queued up', async () => {
    let batches = 0;
    operations = 0;
    await using it = openTestHub({
      intercept({ kind }) {
        if (kind === 'entity-start') batches++;
      },
    });
    await Promise.all(
      Array.from({ length: 50 }, () => it.call('POST', 'entities/tally/b?op=x', 1)),
    );
    await it.settle();

    expect(operations).toBe(50);
    expect(batches).toBeLessThanOrEqual(2);
  });
});

describe('critical sections', () => {
  test('let nobody between their calls', async () => {
    await using it = openTestHub();
    await signal(it, 'a', 'add', 100);
    await it.settle();
    await it.start('transfers', 't1', { from: 'a', to: 'b', ms: minuteMs });
    await it.settle();
    await it.start('transfers', 't2', { from: 'b', to: 'a', ms: 0 });
    await signal(it, 'a', 'add', 1);
    await it.pass(minuteMs - 1);
    expect((await it.status('t2')).runtimeStatus).toBe('Running');
    expect(await it.status('@counter@a')).toMatchObject({ customStatus: { lockedBy: 't1' } });

    await it.pass(10);

    expect((await it.status('t1')).output).toBe(100);
    expect((await it.status('t2')).output).toBe(100);
    expect([await read(it, 'a'), await read(it, 'b')]).toEqual([101, 0]);
  });

  test.each(['raise', 'terminate'])('end with their orchestration (%s)', async (how) => {
    await using it = openTestHub();
    await it.start('keepsLock', 'k');
    await it.settle();
    await signal(it, 'a', 'add', 1);
    await it.start('keepsLock', 'waiting');
    await it.settle();
    expect(await read(it, 'a')).toBe(404);

    // The one that waits in the queue of the first entity leaves no lock behind either.
    await it.call('POST', 'instances/waiting/terminate?reason=over');
    if (how === 'raise') await it.raise('k', 'end', 1);
    else await it.call('POST', 'instances/k/terminate?reason=over');
    await it.settle();

    expect(await read(it, 'a')).toBe(1);
    expect((await it.status('@counter@b')).customStatus).toEqual({ entityExists: false });
  });

  test('do not nest', async () => {
    await using it = openTestHub();
    await it.start('locksAgain', 'l');
    await it.settle();

    const { runtimeStatus, output } = await it.status('l');
    expect(runtimeStatus).toBe('Failed');
    expect(output).toContain('lock');
    expect((await it.status('@counter@x')).customStatus).toEqual({ entityExists: false });
  });
});
