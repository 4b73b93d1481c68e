// A process to be killed: a hub on a file, instances of activities, timers, children, events and
// continue-as-new. Prints one line per step; notes each activity run and each end in a file.
// Arguments: hub file, notes file, number of instances.
import { appendFileSync } from 'node:fs';
import type { OrchestrationContext, Task } from 'durable-functions';
import { openHub } from '../../infra/local/durable/hub.ts';
import { df, runner } from './runner.ts';

type Orchestrator = Generator<Task, unknown, never>;
const [file = '', notes = '', count = '0'] = process.argv.slice(2);
const note = (text: string) => appendFileSync(notes, `${text}\n`);

df.app.activity('note', {
  handler: async (input: unknown) => {
    note(`ran ${String(input)}`);
    return input;
  },
});
df.app.orchestration('part', function* (context: OrchestrationContext): Orchestrator {
  return yield context.df.callActivity('note', context.df.getInput());
} as never);
df.app.orchestration('work', function* (context: OrchestrationContext): Orchestrator {
  const { instanceId, currentUtcDateTime } = context.df;
  const { generation, done } = context.df.getInput() as { generation: number; done: unknown[] };
  const name = (step: string) => `${instanceId}/${generation}/${step}`;
  done.push(yield context.df.callActivity('note', name('first')));
  yield context.df.createTimer(new Date(currentUtcDateTime.getTime() + 5));
  const both = [
    context.df.callActivity('note', name('a')),
    context.df.callActivity('note', name('b')),
  ];
  done.push(...((yield context.df.Task.all(both)) as unknown[]));
  done.push(yield context.df.callSubOrchestrator('part', name('child')));
  if (generation === 0) done.push(yield context.df.waitForExternalEvent('go'));
  if (generation === 2) return done;
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
const query = new URLSearchParams();
const headers = { 'content-type': 'application/json' };
const post = (path: string, body: string) =>
  hub.handle({ method: 'POST', path, query, headers, body });
for (let k = 0; k < Number(count); k++) {
  const body = JSON.stringify({ generation: 0, done: [] });
  // 409 in a later life: the instance is there already. A started one has been answered.
  const { status } = await post(`orchestrators/work/w${k}`, body);
  if (status === 202) process.stdout.write(`accepted w${k}\n`);
}
process.on('message', async (id) => {
  if (id === 'status') {
    const { body } = await hub.handle({
      method: 'GET',
      path: 'instances',
      query: new URLSearchParams('top=1000'),
      headers,
      body: '',
    });
    process.send?.(JSON.parse(body) as object);
  } else {
    const { status } = await post(`instances/${String(id)}/raiseEvent/go`, '"go"');
    process.send?.({ raised: id, status });
  }
});
process.send?.({ ready: true });
process.on('disconnect', () => process.exit(0));
