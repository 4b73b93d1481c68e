// The sender of a round as the round sees it: what it has given away, what was accepted.
import { extname, join } from 'node:path';
import type { SamplePlan } from '../../infra/local/sample/plan.ts';
import { until } from '../support/until.ts';
import type { FeederOrder } from './feeder-process.ts';
import { KeptProcess } from './kept-process.ts';

const feederFile = join(import.meta.dirname, `feeder-process${extname(import.meta.filename)}`);

export interface SenderOptions {
  plan: SamplePlan;
  planFile: string;
  serviceBus: string;
  perSecond: number;
  /** Messages that wait until `release`. */
  heldBack: number;
  note(text: string): void;
}

export class SenderProcess implements AsyncDisposable {
  readonly #kept: KeptProcess;
  readonly #plan: SamplePlan;
  readonly sentAtMs: Record<string, number> = {};
  accepted = 0;
  #heldBack: number;

  constructor(options: SenderOptions) {
    const { plan, planFile, serviceBus, perSecond, note } = options;
    this.#plan = plan;
    this.#heldBack = options.heldBack;
    this.#kept = new KeptProcess({
      name: 'sender',
      args: () => [feederFile],
      onLine: (line) => this.#hear(line, note),
      onLife: note,
      mayFinish: true,
      greeting: () => {
        const heldBack = this.#heldBack;
        const order = { planFile, serviceBus, from: this.accepted, perSecond, heldBack };
        return JSON.stringify(order satisfies FeederOrder);
      },
    });
  }

  get pid(): number | undefined {
    return this.#kept.pid;
  }

  get isFinished(): boolean {
    return this.#kept.isFinished;
  }

  #hear(line: string, note: (text: string) => void): void {
    const [, given, atMs] = /^g (\d+) (\d+)$/.exec(line) ?? [];
    const [, accepted] = /^s (\d+)$/.exec(line) ?? [];
    const message = given === undefined ? undefined : this.#plan.messages[Number(given)];
    if (message) this.sentAtMs[message.id] ??= Number(atMs);
    else if (accepted !== undefined) this.accepted = Math.max(this.accepted, Number(accepted));
    else note(`sender: ${line}`);
  }

  /** Lets it send all, and waits until it has. */
  async finish(): Promise<void> {
    this.#heldBack = 0;
    this.#kept.say('go');
    await until(
      () => this.#kept.isFinished,
      (isFinished) => isFinished,
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#kept[Symbol.asyncDispose]();
  }
}
