// The convoy `meters` on a whole stack in one process: what the journeys of roll-ups, dead letters
// and the purge share.
import { join } from 'node:path';
import type { ServiceBusMessage } from '@azure/service-bus';
import { startLocalStack, type LocalStack, type StackOptions } from '../../infra/local/stack.ts';
import { Api, Queues, until } from './doors.ts';

const appDir = join(import.meta.dirname, '..', 'journey', 'fixtures', 'meters-app');

export type Raw = ServiceBusMessage & {
  applicationProperties: Record<string, string | number | boolean>;
};

export class Meters implements AsyncDisposable {
  readonly stack: LocalStack;
  readonly api: Api;
  readonly queues: Queues;

  private constructor(stack: LocalStack) {
    this.stack = stack;
    this.api = new Api(stack.url);
    this.queues = new Queues(stack.serviceBus);
  }

  static async open(options: Partial<StackOptions> = {}): Promise<Meters> {
    const configFile = join(appDir, 'queues.json');
    const quiet = { memory: true, log: () => undefined };
    return new Meters(await startLocalStack({ appDir, configFile, ...quiet, ...options }));
  }

  /** A reading at this second of the minute 2026-01-01T00:<minute>. */
  reading(key: string, id: string, at: { minute: number; value: number }): Raw {
    const minute = String(at.minute).padStart(2, '0');
    return {
      sessionId: key,
      messageId: `${key}-${id}`,
      subject: 'Read',
      contentType: 'application/json',
      body: Buffer.from(JSON.stringify({ value: at.value })),
      applicationProperties: {
        convoyKey: key,
        convoyMessageId: id,
        convoyType: 'Read',
        occurredAt: `2026-01-01T00:${minute}:10Z`,
      },
    };
  }

  async send(...messages: ServiceBusMessage[]): Promise<void> {
    const sender = this.queues.client.createSender('meters');
    await sender.sendMessages(messages);
    await sender.close();
  }

  /** Waits until so many messages of a key are settled. */
  async settled(key: string, cursor: number): Promise<void> {
    await until(
      () => this.api.call('GET', `/convoys/meters/${key}`),
      ({ status, body }) => status === 200 && body.cursor >= cursor,
    );
  }

  /** Runs a timer now, as an operator can on any host; it may end later. */
  async fire(timer: string): Promise<void> {
    const response = await fetch(`${this.stack.url}/admin/functions/${timer}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    });
    if (!response.ok) throw new Error(`${timer}: ${response.status} ${await response.text()}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.queues[Symbol.asyncDispose]();
    await this.stack[Symbol.asyncDispose]();
  }
}
