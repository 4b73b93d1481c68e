// The first load of the soak: the sample stream in waves, one after the other without a break, each
// watched and judged by an observer of its own.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Verdict } from '../../infra/local/sample/judge.ts';
import { planSample } from '../../infra/local/sample/plan.ts';
import type { PlannedMessage, SamplePlan } from '../../infra/local/sample/plan.ts';
import { createSender } from '../../shared/sender.ts';
import type { Sender } from '../../shared/sender.ts';
import { ObserverProcess } from '../support/observer-process.ts';

export interface WavesOptions {
  http: string;
  serviceBus: string;
  folder: string;
  seed: number;
  orders: number;
  perSecond: number;
  /** A wave has been judged. */
  onVerdict(verdict: Verdict, wave: number): void;
}

const quietLimitMs = 120_000;

export class Waves {
  readonly #options: WavesOptions;
  #isStopping = false;
  sent = 0;

  constructor(options: WavesOptions) {
    this.#options = options;
  }

  /** No wave begins any more. */
  stop(): void {
    this.#isStopping = true;
  }

  /** Resolves when the last wave has been judged. */
  async run(): Promise<void> {
    const { serviceBus, seed, orders } = this.#options;
    await using sender = createSender({ connectionString: serviceBus });
    const judging: Promise<void>[] = [];
    for (let wave = 1; !this.#isStopping; wave += 1) {
      const plan = planSample({ run: wave, seed: seed + wave, orders });
      const observer = await this.#observe(plan, wave);
      const sentAtMs = await this.#send(sender, plan);
      judging.push(this.#judge(observer, { sentAtMs, wave }));
      // No more observers than two at a time.
      if (judging.length > 1) await judging.shift();
    }
    await Promise.all(judging);
  }

  async #observe(plan: SamplePlan, wave: number): Promise<ObserverProcess> {
    const { http, serviceBus, folder } = this.#options;
    const own = join(folder, `wave-${wave % 3}`);
    mkdirSync(own, { recursive: true });
    return ObserverProcess.start(plan, { http, serviceBus, folder: own, quietLimitMs });
  }

  async #send(sender: Sender, plan: SamplePlan): Promise<Record<string, number>> {
    const sentAtMs: Record<string, number> = {};
    const { perSecond } = this.#options;
    const startedAt = Date.now();
    const count = (): void => void (this.sent += 1);
    async function* paced(): AsyncGenerator<PlannedMessage> {
      for (const [i, message] of plan.messages.entries()) {
        const dueAt = startedAt + (i * 1_000) / perSecond;
        if (dueAt > Date.now()) await pause(dueAt - Date.now());
        sentAtMs[message.id] ??= Date.now();
        count();
        yield message;
      }
    }
    await sender.sendAll(plan.convoy, paced());
    return sentAtMs;
  }

  async #judge(
    observer: ObserverProcess,
    { sentAtMs, wave }: { sentAtMs: Record<string, number>; wave: number },
  ): Promise<void> {
    await using watched = observer;
    this.#options.onVerdict(await watched.verdict(sentAtMs), wave);
  }
}
