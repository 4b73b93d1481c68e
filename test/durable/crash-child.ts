// A process to be killed: a hub on a file and instances that use everything that must survive a
// crash: activities with retries, timers, children, events, entities, critical sections,
// continue-as-new. Prints one line per step; notes each activity run and each end in a file.
// Arguments: hub file, notes file, number of instances.
import { appendFileSync } from 'node:fs';
import type { EntityContext, OrchestrationContext, Task } from 'durable-functions';
import { openHub } from '../../infra/local/durable/hub.ts';
import { df, runner } from './runner.ts';

type Orchestrator = Generator<Task, unknown, never>;
type Context = OrchestrationContext;
const [file = '', notes = '', count = '0'] = process.argv.slice(2);
const note = (text: string) => appendFileSync(notes, `${text}\n`);
const generations = 3;
const entity = (key: string) => new df.EntityId('Tally', key);

const failed = new Set<string>();
df.app.activity('note', {
  handler: async (input: unknown) => {
    note(`ran ${String(input)}`);
    return input;
  },
});
df.app.activity('flaky', {
  handler: (input: unknown) => {
    note(`ran ${String(input)}`);
    if (failed.has(String(input))) return input;
    failed.add(String(input));
    throw new Error('the first time in a life it fails');
  },
});
df.app.entity('Tally', (context: EntityContext<number>) => {
  const value = (context.df.getState(() => 0) ?? 0) + (context.df.getInput<number>() ?? 0);
  context.df.setState(value);
  context.df.return(value);
});
df.app.orchestration('part', function* (context: Context): Orchestrator {
  return yield context.df.callActivity('note', context.df.getInput());
} as never);

/** Moves one from one tally to the other; nobody may come between. */
function* move(context: Context, from: string, to: string): Orchestrator {
  const lock = (yield context.df.lock(entity(from), entity(to))) as { release(): void };
  const have = (yield context.df.callEntity(entity(from), 'add', 0)) as number;
  const after = (yield context.df.callEntity(entity(from), 'add', -1)) as number;
  yield context.df.callEntity(entity(to), 'add', 1);
  lock.release();
  return have - after;
}

df.app.orchestration('work', function* (context: Context): Orchestrator {
  const { instanceId, currentUtcDateTime } = context.df;
  const { generation, done } = context.df.getInput() as { generation: number; done: unknown[] };
  const name = (step: string) => `${instanceId}/${generation}/${step}`;
  done.push(yield context.df.callActivity('note', name('first')));
  yield context.df.createTimer(new Date(currentUtcDateTime.getTime() + 5));
  const retry = new df.RetryOptions(1, 50);
  const both = [
    context.df.callActivityWithRetry('flaky', retry, name('a')),
    context.df.callActivity('note', name('b')),
  ];
  done.push(...((yield context.df.Task.all(both)) as unknown[]));
  context.df.signalEntity(entity('signalled'), 'add', 1);
  yield context.df.callEntity(entity(`called-${Number(instanceId.slice(1)) % 5}`), 'add', 1);
  done.push(yield* move(context, 'left', 'right'));
  done.push(yield context.df.callSubOrchestrator('part', name('child')));
  if (generation === 0) done.push(yield context.df.waitForExternalEvent('go'));
  if (generation + 1 === generations) return done;
  context.df.continueAsNew({ generation: generation + 1, done });
  return undefined;
} as never);

const hub = openHub({
  file,
  runner,
  intercept({ kind, instanceId, name, detail }) {
    if (kind === 'after-commit' && name === 'work' && detail === 'completed') {
      note(`ended ${instanceId}`);
    }
    process.stdout.write(`${kind} ${instanceId}\n`);
  },
});
hub.start();
const headers = { 'content-type': 'application/json' };
const call = (method: string, target: string, body = '') => {
  const [path = '', query = ''] = target.split('?');
  return hub.handle({ method, path, query: new URLSearchParams(query), headers, body });
};

/** All there is to know at the end; nothing while an instance runs. */
async function report(): Promise<object> {
  const open = await call(
    'GET',
    'instances?top=1&runtimeStatus=Pending,Running&instanceIdPrefix=w',
  );
  if (open.body !== '[]') return { instances: [], entities: [], ends: {} };
  const list = await call('GET', 'instances?top=1000&instanceIdPrefix=w');
  const ends: Record<string, number> = {};
  for (let k = 0; k < Number(count); k++) {
    const { body } = await call('GET', `instances/w${k}?showHistory=true`);
    const { historyEvents } = JSON.parse(body) as { historyEvents: { EventType: string }[] };
    ends[`w${k}`] = historyEvents.filter((one) => one.EventType === 'ExecutionCompleted').length;
  }
  const entities = await call('GET', 'entities/Tally?fetchState=true');
  return {
    instances: JSON.parse(list.body) as object,
    entities: JSON.parse(entities.body) as object,
    ends,
  };
}

for (let k = 0; k < Number(count); k++) {
  const body = JSON.stringify({ generation: 0, done: [] });
  // 409 in a later life: the instance is there already. A started one has been answered.
  const { status } = await call('POST', `orchestrators/work/w${k}`, body);
  if (status === 202) process.stdout.write(`accepted w${k}\n`);
}
// Again in every life: an event may come twice, and too late.
for (let k = 0; k < Number(count); k++) {
  await call('POST', `instances/w${k}/raiseEvent/go`, '"go"');
}
process.on('message', async () => process.send?.(await report()));
process.send?.({ ready: true });
process.on('disconnect', () => process.exit(0));
