import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { OrchestrationContext, Task } from 'durable-functions';
import { openHub } from '../../infra/local/durable/hub.ts';
import { openTestHub, type Status } from './hub-under-test.ts';
import { df, runner } from './runner.ts';

type Orchestrator = Generator<Task, unknown, never>;

function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const runs = new Map<string, number>();
df.app.activity('count', {
  handler: (input: unknown) => {
    runs.set(String(input), (runs.get(String(input)) ?? 0) + 1);
    return input;
  },
});
df.app.orchestration('steps', function* (context: OrchestrationContext): Orchestrator {
  const { instanceId, currentUtcDateTime } = context.df;
  const { generation, done } = context.df.getInput() as { generation: number; done: unknown[] };
  const names = ['a', 'b', 'c'].map((step) => `${instanceId}/${generation}/${step}`);
  done.push(yield context.df.callActivity('count', names[0]));
  yield context.df.createTimer(new Date(currentUtcDateTime.getTime() + 1_000));
  const both = names.slice(1).map((name) => context.df.callActivity('count', name));
  done.push(...((yield context.df.Task.all(both)) as unknown[]));
  if (generation === 2) return done;
  context.df.continueAsNew({ generation: generation + 1, done });
  return undefined;
} as never);

df.app.orchestration('waitsThenSteps', function* (context: OrchestrationContext): Orchestrator {
  yield context.df.waitForExternalEvent('go');
  return yield context.df.callActivity('count', 'new');
} as never);

const expected = (id: string) =>
  [0, 1, 2].flatMap((generation) => ['a', 'b', 'c'].map((step) => `${id}/${generation}/${step}`));

test.each([1, 2, 3, 4])(
  'deaths at named points cost repeats, never results (seed %i)',
  async (seed) => {
    const random = randomFrom(seed);
    const ends = new Map<string, number>();
    let deaths = 0;
    runs.clear();
    await using it = openTestHub({
      intercept({ kind, instanceId, detail }) {
        if (kind === 'after-commit' && detail === 'completed') {
          ends.set(instanceId, (ends.get(instanceId) ?? 0) + 1);
        }
        if (kind === 'instance-started' || kind.startsWith('event-') || random() >= 0.3) return;
        deaths++;
        throw new Error(`death at ${kind}`);
      },
    });
    const ids = Array.from({ length: 10 }, (_, k) => `s${k}`);
    for (const id of ids) await it.start('steps', id, { generation: 0, done: [] });
    await it.pass(3_600_000, 20_000);

    expect(deaths).toBeGreaterThan(50);
    for (const id of ids) {
      const status = await it.status(id);
      expect(status).toMatchObject({ runtimeStatus: 'Completed', output: expected(id) });
      expect(ends.get(id)).toBe(1);
      for (const name of expected(id)) expect(runs.get(name)).toBeGreaterThanOrEqual(1);
    }
    expect([...runs.values()].some((count) => count > 1)).toBe(true);
  },
);

test('an activity that ran but was not committed runs again, its result counts once', async () => {
  runs.clear();
  let isDead = false;
  await using it = openTestHub({
    intercept({ kind, name }) {
      if (kind !== 'activity-finished' || name !== 'count' || isDead) return;
      isDead = true;
      throw new Error('death before the result is stored');
    },
  });
  await it.start('steps', 's', { generation: 2, done: [] });
  await it.pass(60_000, 1_000);

  expect(runs.get('s/2/a')).toBe(2);
  expect((await it.status('s')).output).toEqual(['s/2/a', 's/2/b', 's/2/c']);
});

test('an answer to an earlier execution of the id is dropped', async () => {
  const held = Promise.withResolvers<void>();
  const isHeld = Promise.withResolvers<void>();
  const isOver = Promise.withResolvers<void>();
  await using it = openTestHub({
    async intercept({ kind, detail, name }) {
      if (kind === 'after-commit' && detail === 'terminated') isOver.resolve();
      if (kind !== 'activity-finished' || name !== 'count') return;
      isHeld.resolve();
      await held.promise;
    },
  });
  await it.start('steps', 's', { generation: 2, done: [] });
  await isHeld.promise;
  await it.call('POST', 'instances/s/terminate?reason=over');
  await isOver.promise;
  await it.start('waitsThenSteps', 's');

  held.resolve();
  await it.settle();
  await it.raise('s', 'go');
  await it.settle();

  expect((await it.status('s')).output).toBe('new');
});

test('a closed hub goes on where it was, timers included', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'convoy-hub-'));
  const file = join(folder, 'hub.sqlite');
  runs.clear();
  const first = openTestHub({ file });
  await first.start('steps', 's', { generation: 0, done: [] });
  await first.settle();
  expect(() => openHub({ file, runner })).toThrow('HUB_FILE');
  await first.hub.close();

  await using second = openTestHub({ file, clock: first.clock });
  await second.pass(10_000, 500);

  expect((await second.status('s')).output).toEqual(expected('s'));
  expect([...runs.values()]).toEqual(Array.from({ length: 9 }, () => 1));
  rmSync(folder, { recursive: true });
});

interface Life {
  child: ChildProcess;
  died: Promise<unknown>;
}

/** One life of the child; it is killed after so many printed steps, or when nothing is left to do:
 *  an earlier life may have got so far that every instance waits for its event. */
function live(folder: string, instances: number, stepsUntilKill: number): Life {
  const args = [join(folder, 'hub.sqlite'), join(folder, 'notes'), String(instances)];
  const script = join(import.meta.dirname, 'crash-child.ts');
  const child = fork(script, args, { stdio: ['ignore', 'pipe', 'inherit', 'ipc'], execArgv: [] });
  let steps = 0;
  const isMeantToDie = Number.isFinite(stepsUntilKill);
  const silence = setTimeout(() => isMeantToDie && child.kill('SIGKILL'), 3_000);
  child.once('exit', () => clearTimeout(silence));
  child.stdout?.on('data', (piece: Buffer) => {
    silence.refresh();
    steps += piece.toString('utf8').split('\n').length - 1;
    if (steps >= stepsUntilKill) child.kill('SIGKILL');
  });
  return { child, died: once(child, 'exit') };
}

function messageOf<T>(child: ChildProcess, accepts: (message: T) => boolean): Promise<T> {
  return new Promise((resolve) => {
    child.on('message', function listen(message) {
      if (!accepts(message as T)) return;
      child.off('message', listen);
      resolve(message as T);
    });
  });
}

test('kill -9 at seeded moments loses and doubles nothing', { timeout: 60_000 }, async () => {
  const seed = Number(process.env['SEED'] ?? 7);
  const random = randomFrom(seed);
  const folder = mkdtempSync(join(tmpdir(), 'convoy-hub-'));
  const instances = 12;
  for (let life = 0; life < 5; life++) {
    const { died } = live(folder, instances, 20 + Math.floor(random() * 50));
    // The events keep the instances from ending in these lives.
    await died;
  }
  const { child, died } = live(folder, instances, Number.POSITIVE_INFINITY);
  await messageOf<{ ready?: boolean }>(child, ({ ready }) => ready === true);
  for (let k = 0; k < instances; k++) {
    const raised = messageOf<{ raised?: string }>(child, (message) => message.raised === `w${k}`);
    child.send(`w${k}`);
    expect(await raised, `seed ${seed}`).toEqual({ raised: `w${k}`, status: 202 });
  }
  const isOver = (all: Status[]) => all.every(({ runtimeStatus }) => runtimeStatus === 'Completed');
  let all: Status[] = [];
  do {
    const answer = messageOf<Status[]>(child, Array.isArray);
    child.send('status');
    all = await answer;
  } while (!isOver(all));
  child.kill('SIGKILL');
  await died;

  const notes = readFileSync(join(folder, 'notes'), 'utf8').split('\n');
  const work = all.filter(({ name }) => name === 'work');
  expect(work, `seed ${seed}`).toHaveLength(instances);
  for (const { instanceId, output } of work) {
    const parts = ['first', 'a', 'b', 'child'];
    const wanted = [0, 1, 2].flatMap((generation) => [
      ...parts.map((part) => `${instanceId}/${generation}/${part}`),
      ...(generation === 0 ? ['go'] : []),
    ]);
    expect(output, `seed ${seed}`).toEqual(wanted);
    expect(notes.filter((line) => line === `ended ${instanceId}`)).toHaveLength(1);
    for (const name of wanted.filter((text) => text !== 'go')) {
      expect(notes, `seed ${seed}`).toContain(`ran ${name}`);
    }
  }
  expect(existsSync(join(folder, 'hub.sqlite'))).toBe(true);
  rmSync(folder, { recursive: true });
});
