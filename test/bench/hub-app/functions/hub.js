// The orchestrations of the hub's benchmark, and one function that lends out its durable client.
import { app } from '@azure/functions';
import * as df from 'durable-functions';

df.app.activity('echo', { handler: (value) => value });

/** Input: how many activities, one after the other. */
df.app.orchestration('chain', function* (context) {
  const count = context.df.getInput();
  let sum = 0;
  for (let k = 0; k < count; k++) sum += yield context.df.callActivity('echo', k);
  return sum;
});

/** The shape of a convoy with one message: drain, linger for a wake, close. */
df.app.orchestration('sparse', function* (context) {
  yield context.df.callActivity('echo', 'drain');
  const wake = context.df.waitForExternalEvent('wake');
  const at = context.df.currentUtcDateTime.getTime() + 60_000;
  const linger = context.df.createTimer(new Date(at));
  const winner = yield context.df.Task.any([wake, linger]);
  if (winner !== linger) linger.cancel();
  return yield context.df.callActivity('echo', 'close');
});

app.http('lend', {
  route: 'lend',
  extraInputs: [df.input.durableClient()],
  handler: (request, context) => {
    globalThis.benchClient = df.getClient(context);
    return { status: 204 };
  },
});
