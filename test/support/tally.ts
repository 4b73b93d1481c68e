// The convoy `tally` of the zombie app, seen from outside: what its batches look like on the wire,
// what became of a key.
import { join } from 'node:path';
import { ServiceBusClient } from '@azure/service-bus';
import type { ServiceBusReceivedMessage } from '@azure/service-bus';
import type { CosmosRequestInfo } from '../../infra/local/cosmos/intercept.ts';
import { createSender } from '../../shared/sender.ts';
import type { Sender } from '../../shared/sender.ts';
import { convoyIdOf, instanceIdOf } from '../../shared/keys.ts';
import { createCosmosStore } from '../../shared/store/cosmos.ts';
import type { CosmosStore } from '../../shared/store/cosmos.ts';
import { cosmosSettings } from '../../shared/store/cosmos-settings.ts';
import { until } from './until.ts';

export const zombieAppDir = join(import.meta.dirname, '..', 'journey', 'fixtures', 'zombie-app');
export const zombieQueues = join(zombieAppDir, 'queues.json');

export const instanceOf = (key: string, epoch: number) => instanceIdOf('tally', key, epoch);

type Fields = Record<string, unknown>;

/** What a batch writes to one item of the key; undefined when it does not, or is another key's. */
function written(request: CosmosRequestInfo, key: string, id: string): Fields | undefined {
  if (request.kind !== 'batch') return undefined;
  if (request.partitionKey?.[0] !== convoyIdOf('tally', key)) return undefined;
  const operation = request.operations?.find((one) => {
    const { id: bodyId } = (one.resourceBody ?? {}) as Fields;
    return (one.id ?? bodyId) === id;
  });
  return operation?.resourceBody as Fields | undefined;
}

/** [H1] A batch that appends the message of this position. */
export const isAdmit = (key: string, position: number) => (request: CosmosRequestInfo) => {
  const gate = written(request, key, 'gate');
  return gate?.['tail'] === position && gate['lastMessageId'] !== null && isGrowing(request);
};

/** Only an admission marks a message as seen. */
const isGrowing = ({ operations }: CosmosRequestInfo): boolean =>
  operations?.some(
    (one) =>
      one.operationType === 'Create' &&
      String((one.resourceBody as Fields | undefined)?.['id']).startsWith('seen:'),
  ) ?? false;

/** [H4] The batch that announces a wait. */
export const isWait = (key: string) => (request: CosmosRequestInfo) =>
  written(request, key, 'gate')?.['waiting'] === true;

/** [H5] The commit that takes the key to this cursor. */
export const isCommit = (key: string, cursor: number) => (request: CosmosRequestInfo) =>
  written(request, key, 'progress')?.['cursor'] === cursor &&
  written(request, key, 'gate') === undefined;

/** [H6] The batch that closes the key. */
export const isClose = (key: string) => (request: CosmosRequestInfo) =>
  written(request, key, 'gate')?.['phase'] === 'idle';

export interface Outcome {
  /** Of the first output of each message, in the order of the queue. */
  outputs: { id: string; position: number; epoch: number }[];
  /** Ids in the state, in the order in which they took effect. */
  effects: string[];
  gate: { phase: string; epoch: number; tail: number };
  progress: { epoch: number; cursor: number; settled: number };
  /** Status of the instance of each epoch, and of the one after the last. */
  instances: string[];
}

/** What a key must have become that got these messages and closed. */
export function settledOutcome(messages: readonly (readonly [id: string, epoch: number])[]) {
  const count = messages.length;
  const last = messages.at(-1)?.[1] ?? 0;
  const outputs = messages.map(([id, epoch], i) => ({ id, position: i + 1, epoch }));
  return {
    outputs,
    effects: outputs.map(({ id }) => id),
    gate: { phase: 'idle', epoch: last, tail: count },
    progress: { epoch: last + 1, cursor: count, settled: count },
    instances: [...Array.from({ length: last }, () => 'Completed'), 'none'],
  } satisfies Outcome;
}

const ofKey =
  (key: string) =>
  ({ sessionId }: ServiceBusReceivedMessage): boolean =>
    sessionId === key;

/** Sends to and looks at `tally`, through the same doors as anybody. */
export class TallyWorld implements AsyncDisposable {
  readonly #sender: Sender;
  readonly #serviceBus: string;
  readonly #store: CosmosStore;
  readonly #hostUrl: () => string;

  private constructor(parts: {
    serviceBus: string;
    sender: Sender;
    store: CosmosStore;
    hostUrl: () => string;
  }) {
    this.#serviceBus = parts.serviceBus;
    this.#sender = parts.sender;
    this.#store = parts.store;
    this.#hostUrl = parts.hostUrl;
  }

  static async open(
    address: { serviceBus: string; cosmos: string },
    hostUrl: () => string,
  ): Promise<TallyWorld> {
    return new TallyWorld({
      serviceBus: address.serviceBus,
      sender: createSender({ connectionString: address.serviceBus }),
      store: await createCosmosStore(cosmosSettings({ CosmosConnection: address.cosmos })),
      hostUrl,
    });
  }

  async send(key: string, ...ids: string[]): Promise<void> {
    const messages = ids.map((id) => ({ id, type: 'Counted', body: {} }));
    await this.#sender.send('tally', key, messages);
  }

  /** Waits until intake has completed everything on the input queue: H1 and H2 are served. */
  async taken(key: string): Promise<void> {
    const left = async () => (await this.#peek('tally')).filter(ofKey(key)).length;
    await until(left, (count) => count === 0);
  }

  async deadLettered(): Promise<number> {
    return (await this.#peek('tally', { subQueueType: 'deadLetter' })).length;
  }

  async outputs(key: string): Promise<Outcome['outputs']> {
    const seen = (await this.#peek('tally-out')).filter(ofKey(key));
    return seen.map(({ applicationProperties = {} }) => ({
      id: String(applicationProperties['causationId']),
      position: Number(applicationProperties['position']),
      epoch: Number(applicationProperties['epoch']),
    }));
  }

  /** All messages of a queue; nothing is received by it. */
  async #peek(
    queue: string,
    options: { subQueueType?: 'deadLetter' } = {},
  ): Promise<ServiceBusReceivedMessage[]> {
    // A client remembers per queue how far it has peeked, whatever receiver it is asked through.
    const client = new ServiceBusClient(this.#serviceBus);
    const receiver = client.createReceiver(queue, options);
    const seen: ServiceBusReceivedMessage[] = [];
    try {
      for (;;) {
        const page = await receiver.peekMessages(250);
        if (page.length === 0) return seen;
        seen.push(...page);
      }
    } finally {
      await client.close();
    }
  }

  async gate(key: string) {
    return (await this.#store.readGate(convoyIdOf('tally', key)))?.item;
  }

  async progress(key: string) {
    return (await this.#store.readProgress(convoyIdOf('tally', key)))?.item;
  }

  /** Runtime status of an instance; `none` when the hub does not know it. */
  async instance(key: string, epoch: number): Promise<string> {
    const path = `/runtime/webhooks/durabletask/instances/${instanceOf(key, epoch)}`;
    const response = await fetch(`${this.#hostUrl()}${path}`);
    const body = (await response.json()) as { runtimeStatus?: string };
    return response.status === 404 ? 'none' : String(body.runtimeStatus);
  }

  /** Waits until an instance has this status. */
  async instanceIs(key: string, epoch: number, status: string): Promise<void> {
    await until(
      () => this.instance(key, epoch),
      (seen) => seen === status,
    );
  }

  /** Waits until the key has settled this many messages and its instances have ended. */
  async outcome(key: string, count: number): Promise<Outcome> {
    const gate = await until(
      () => this.gate(key),
      (seen) => seen?.tail === count && seen.phase === 'idle',
    );
    const epochs = Array.from({ length: gate?.epoch ?? 0 }, (_, i) => i + 1);
    for (const epoch of epochs) {
      await until(
        () => this.instance(key, epoch),
        (status) => status !== 'Running' && status !== 'Pending',
      );
    }
    return this.seen(key);
  }

  /** What can be seen of the key now. */
  async seen(key: string): Promise<Outcome> {
    const gate = await this.gate(key);
    const progress = await this.progress(key);
    if (!gate || !progress) throw new TypeError(`nothing is known of ${key}`);
    const epochs = Array.from({ length: gate.epoch + 1 }, (_, i) => i + 1);
    const { phase, epoch, tail } = gate;
    const { cursor, settled } = progress;
    return {
      outputs: await this.outputs(key),
      effects: (progress.state as { ids: string[] }).ids,
      gate: { phase, epoch, tail },
      progress: { epoch: progress.epoch, cursor, settled },
      instances: await Promise.all(epochs.map((one) => this.instance(key, one))),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sender.close();
    this.#store.close();
  }
}
