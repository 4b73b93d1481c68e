// The naive arm: ordered processing as the tutorials do it. A session trigger raises one event per
// message to an orchestrator of the key, which runs one activity per message; the activity reads
// the state item, replaces it and sends the output. No dedup, no fence, no outbox.
import { app, trigger } from '@azure/functions';
import { CosmosClient } from '@azure/cosmos';
import { ServiceBusClient } from '@azure/service-bus';
import * as df from 'durable-functions';

const idleMs = 5_000; // as long as a convoy lingers by default
const unfinished = ['Pending', 'Running', 'ContinuedAsNew'];

app.generic('receive', {
  trigger: trigger.generic({
    type: 'serviceBusTrigger',
    queueName: 'naive',
    connection: 'ServiceBusConnection',
    isSessionsEnabled: true,
    cardinality: 'one',
    dataType: 'binary',
  }),
  extraInputs: [df.input.durableClient()],
  handler: async (body, context) => {
    const client = df.getClient(context);
    const { convoyKey, convoyMessageId } = context.triggerMetadata.applicationProperties;
    const status = await client.getStatus(convoyKey).catch(() => undefined);
    if (!unfinished.includes(status?.runtimeStatus)) {
      await client.startNew('sequence', { instanceId: convoyKey });
    }
    const { amount } = JSON.parse(body.toString());
    await client.raiseEvent(convoyKey, 'message', { id: convoyMessageId, amount });
  },
});

df.app.orchestration('sequence', function* (context) {
  for (;;) {
    const event = context.df.waitForExternalEvent('message');
    const idleAt = new Date(context.df.currentUtcDateTime.getTime() + idleMs);
    const idle = context.df.createTimer(idleAt);
    if ((yield context.df.Task.any([event, idle])) === idle) return;
    idle.cancel();
    yield context.df.callActivity('book', { key: context.df.instanceId, ...event.result });
  }
});

df.app.activity('book', {
  handler: async ({ key, id, amount }) => {
    const { container, sender } = await opened();
    const item = container.item(key, key);
    const { resource } = await item.read();
    const state = resource ?? { id: key, balance: 0, entries: 0 };
    const next = { ...state, balance: state.balance + amount, entries: state.entries + 1 };
    await (resource ? item.replace(next) : container.items.create(next));
    await sender.sendMessages({
      sessionId: key,
      messageId: `naive:${key}:${next.entries}`,
      subject: 'booked',
      contentType: 'application/json',
      body: { id, amount, balance: next.balance },
      applicationProperties: { convoyKey: key, causationId: id },
    });
  },
});

let opening;

function opened() {
  opening ??= open();
  return opening;
}

async function open() {
  const cosmos = new CosmosClient(process.env.CosmosConnection);
  const { database } = await cosmos.databases.createIfNotExists({ id: 'naive' });
  const { container } = await database.containers.createIfNotExists({
    id: 'state',
    partitionKey: { paths: ['/id'] },
  });
  const sender = new ServiceBusClient(process.env.ServiceBusConnection).createSender('naive-out');
  return { container, sender };
}
