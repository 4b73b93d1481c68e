// The convoys of the fixture `policies-app` on a whole stack in one process, one key per test, seen
// through the HTTP API and the output queue, as a user of the app sees it.
import { join } from 'node:path';
import { type LocalStack, type StackOptions, startLocalStack } from '../../infra/local/stack.ts';
import { type OutgoingMessage, type Sender, createSender } from '../../shared/sender.ts';
import { Api, type ConvoySeen, Queues, until } from './doors.ts';

const appDir = join(import.meta.dirname, '..', 'journey', 'fixtures', 'policies-app');

/** What the app of the fixture shares with this process. */
export interface World {
  isMended: boolean;
  effects: { id: string; key: string; idempotencyKey: string; attempt: number }[];
  /** Effects of these keys wait until it resolves. */
  gates: Map<string, Promise<void>>;
  aborted: string[];
}

export type Detail = ConvoySeen & {
  state: string[];
  parked: number;
  instanceId: string;
  aside: { positions: number[]; lane: { code: string; messages: number } | null };
  gap: { from: number; to: number; messages: number } | null;
  hold: ConvoySeen['hold'] & { attempts: number | null; nextAttemptAt: string | null };
  hot: { limit: string; backlog: number; advice: string } | null;
  throttled: { by: string; since: string } | null;
};

export type Sent = string | Partial<OutgoingMessage>;

const firstInstant = Date.UTC(2026, 5, 10, 12);

/** The instant so many seconds after noon. */
export const at = (seconds: number): string =>
  new Date(firstInstant + seconds * 1000).toISOString();

/** Seconds after noon of an instant. */
export const secondsOf = (instant: unknown): number =>
  (Date.parse(String(instant)) - firstInstant) / 1000;

export class Policies implements AsyncDisposable {
  readonly stack: LocalStack;
  readonly api: Api;
  readonly queues: Queues;
  /** The key that everything here is about; `nextKey` takes another. */
  key = 'P0';
  #keys = 0;
  readonly #sender: Sender;

  private constructor(stack: LocalStack) {
    this.stack = stack;
    this.api = new Api(stack.url);
    this.queues = new Queues(stack.serviceBus);
    this.#sender = createSender({ connectionString: stack.serviceBus });
  }

  static async open(options: Partial<StackOptions> = {}): Promise<Policies> {
    const configFile = join(appDir, 'queues.json');
    const quiet = { memory: true, logLevel: 'error' as const };
    return new Policies(await startLocalStack({ appDir, configFile, ...quiet, ...options }));
  }

  get world(): World {
    return (globalThis as unknown as { policiesWorld: World }).policiesWorld;
  }

  nextKey(): void {
    this.key = `P${++this.#keys}`;
    this.world.isMended = false;
  }

  /** `!` marks a message at which the handler throws until it is mended. */
  async send(convoy: string, ...messages: Sent[]): Promise<void> {
    const all = messages.map((given): OutgoingMessage => {
      if (typeof given !== 'string') return { type: 'Put', body: {}, ...given };
      return { id: given.replace('!', ''), type: 'Put', body: { breaks: given.endsWith('!') } };
    });
    await this.#sender.send(convoy, this.key, all);
  }

  /** Stops the effects of the key until the test lets them go. */
  closeGate(): () => void {
    const gate = Promise.withResolvers<void>();
    this.world.gates.set(this.key, gate.promise);
    return () => gate.resolve();
  }

  async shown(convoy: string, holds: (seen: Detail) => boolean, key = this.key): Promise<Detail> {
    const answer = await until(
      () => this.api.call('GET', `/convoys/${convoy}/${key}`),
      ({ status, body }) => status === 200 && holds(body as Detail),
    );
    return answer.body as Detail;
  }

  settled(convoy: string, tail: number, key = this.key): Promise<Detail> {
    return this.shown(convoy, (seen) => seen.cursor === tail && seen.phase === 'idle', key);
  }

  async outcomes(convoy: string): Promise<string[]> {
    const messages = await this.api.messages(convoy, this.key);
    return messages.map(({ messageId, outcome, code }) =>
      [messageId, outcome, code].join(' ').trim(),
    );
  }

  async act(convoy: string, action: string): Promise<{ status: number; body: Detail }> {
    const { status, body } = await this.api.call(
      'POST',
      `/convoys/${convoy}/${this.key}/${action}`,
      {
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ reason: 'by test' }),
      },
    );
    if (status !== 202) throw new Error(`${action}: ${status} ${JSON.stringify(body)}`);
    return { status, body: body as Detail };
  }

  async windows(convoy: string): Promise<{ start: string; sum: number; revision: number }[]> {
    return this.api.list(`/convoys/${convoy}/${this.key}/windows`);
  }

  async outputs(convoy: string): Promise<{ subject: string; body: Record<string, unknown> }[]> {
    const seen = await this.queues.peek(`${convoy}-out`, { count: 500 });
    return seen
      .filter(({ sessionId }) => sessionId === this.key)
      .map(({ subject = '', body }) => ({ subject, body: body as Record<string, unknown> }));
  }

  /** Runs a timer of the app now, as an operator can on any host. */
  async fire(timer: string): Promise<void> {
    const response = await fetch(`${this.stack.url}/admin/functions/${timer}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    });
    if (!response.ok) throw new Error(`${timer}: ${response.status} ${await response.text()}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sender.close();
    await this.queues[Symbol.asyncDispose]();
    await this.stack[Symbol.asyncDispose]();
  }
}
