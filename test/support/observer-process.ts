// The independent observer of the sample stream, run by a test as the sample itself runs it.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Verdict } from '../../infra/local/sample/judge.ts';
import type { FromObserver, ToObserver } from '../../infra/local/sample/observer.ts';
import type { SamplePlan } from '../../infra/local/sample/plan.ts';

const observerFile = join(
  import.meta.dirname,
  ...['..', '..', 'infra', 'local', 'sample', `observer${extname(import.meta.filename)}`],
);
const quietLimitMsDefault = 40_000;

export class ObserverProcess implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor() {
    this.#process = spawn(process.execPath, [observerFile], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const { stdout, stdin } = this.#process;
    if (!stdout || !stdin) throw new TypeError('the observer has no pipes');
    stdin.on('error', () => {});
    this.#lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  }

  /** Begins to watch: what is on the output queue before does not count. */
  static async start(
    plan: SamplePlan,
    where: { http: string; serviceBus: string; folder: string; quietLimitMs?: number },
  ): Promise<ObserverProcess> {
    const planFile = join(where.folder, 'observed-plan.json');
    writeFileSync(planFile, JSON.stringify(plan));
    const observer = new ObserverProcess();
    const { http: url, serviceBus, quietLimitMs = quietLimitMsDefault } = where;
    observer.#say({ kind: 'begin', planFile, url, serviceBus, quietLimitMs });
    await observer.#heard('ready');
    return observer;
  }

  /** Everything has been sent: waits for the outputs, reads the API, judges. */
  async verdict(sentAtMs: Record<string, number>): Promise<Verdict> {
    this.#say({ kind: 'fed', sentAtMs });
    await this.#heard('settled');
    this.#say({ kind: 'go' });
    return (await this.#heard('verdict')).verdict;
  }

  #say(message: ToObserver): void {
    this.#process.stdin?.write(`${JSON.stringify(message)}\n`);
  }

  async #heard<K extends FromObserver['kind']>(
    kind: K,
  ): Promise<Extract<FromObserver, { kind: K }>> {
    for (;;) {
      const { done, value } = await this.#lines.next();
      if (done) throw new Error(`the observer ended before it said ${kind}`);
      const message = JSON.parse(value) as FromObserver;
      if (message.kind === kind) return message as Extract<FromObserver, { kind: K }>;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const gone = new Promise((resolve) => this.#process.on('exit', resolve));
    if (this.#process.exitCode !== null) return;
    this.#process.kill('SIGKILL');
    await gone;
  }
}
