// One run of the sample stream: plan, observer, feeder, summary.
//
// Owns:   the order of these steps, the run number, what the run has cost.
// Leaves: sending to feeder.ts, every verdict to the observer's process.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { ConvoyError } from '../../../shared/errors.ts';
import type { StackUsage } from '../address.ts';
import { nextRunNumber, partOf } from '../data-folder.ts';
import { feedPlan } from './feeder.ts';
import type { FromObserver, ToObserver } from './observer.ts';
import { planSample } from './plan.ts';
import { summarize } from './summary.ts';
import type { Summary } from './summary.ts';

export interface SampleOptions {
  url: string;
  serviceBus: string;
  dataDir: string | ':memory:';
  orders: number;
  seed: number;
  rate: number;
  usage(): Promise<StackUsage>;
  onProgress(progress: SampleProgress): void;
}

export interface SampleProgress {
  sent: number;
  total: number;
  outputs: number;
}

export interface SampleResult {
  summary: Summary;
  /** What is wrong; empty when every check holds. */
  failures: readonly string[];
}

/** How long nothing new may come before the run is judged as it stands. */
const quietLimitMs = 20_000;

export async function runSample(options: SampleOptions): Promise<SampleResult> {
  await using folder = sampleFolder(options.dataDir);
  const { orders, seed } = options;
  const plan = planSample({ run: folder.run, seed, orders });
  const planFile = join(folder.path, 'plan.json');
  writeFileSync(planFile, JSON.stringify(plan));
  const progress: SampleProgress = { sent: 0, total: plan.messages.length, outputs: 0 };
  const show = (change: Partial<SampleProgress>): void =>
    options.onProgress(Object.assign(progress, change));
  using observer = new Observer(({ outputs }) => show({ outputs }));

  const { url, serviceBus, rate } = options;
  observer.say({ kind: 'begin', planFile, url, serviceBus, quietLimitMs });
  const ready = await observer.heard('ready');
  const before = await options.usage();
  const sentAtMs = await feedPlan({ plan, serviceBus, rate, onProgress: (sent) => show({ sent }) });
  observer.say({ kind: 'fed', sentAtMs });
  const settled = await observer.heard('settled');
  const after = await options.usage();
  observer.say({ kind: 'go' });
  const { verdict } = await observer.heard('verdict');

  const spent = difference(after, before);
  // What the observer did on the queue is not what the stream costs.
  spent.serviceBusOperations -= settled.peeks - ready.peeks;
  return { summary: summarize(verdict, spent), failures: verdict.failures };
}

function difference(after: StackUsage, before: StackUsage): StackUsage {
  return {
    serviceBusOperations: after.serviceBusOperations - before.serviceBusOperations,
    cosmosRequestUnits: after.cosmosRequestUnits - before.cosmosRequestUnits,
    storageTransactions: after.storageTransactions - before.storageTransactions,
    restarts: after.restarts - before.restarts,
  };
}

/** In memory there is no earlier run to keep apart from, and nothing is left behind. */
function sampleFolder(dataDir: string): { path: string; run: number } & AsyncDisposable {
  if (dataDir !== ':memory:') {
    return {
      path: partOf(dataDir, 'sample'),
      run: nextRunNumber(dataDir),
      [Symbol.asyncDispose]: async () => {},
    };
  }
  const path = mkdtempSync(join(tmpdir(), 'convoy-sample-'));
  return {
    path,
    run: 1,
    [Symbol.asyncDispose]: async () => rmSync(path, { recursive: true, force: true }),
  };
}

type Heard<K> = Extract<FromObserver, { kind: K }>;

/** The observer's process; it ends with its standard input, so also when we are killed. */
class Observer implements Disposable {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #onProgress: (progress: Heard<'progress'>) => void;
  readonly #heard = new Map<FromObserver['kind'], PromiseWithResolvers<FromObserver>>();

  constructor(onProgress: (progress: Heard<'progress'>) => void) {
    const file = join(import.meta.dirname, `observer${extname(import.meta.filename)}`);
    this.#process = spawn(process.execPath, [file], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#onProgress = onProgress;
    const { stdout, stdin } = this.#process;
    if (!stdout || !stdin) throw new TypeError('the observer has no pipes');
    stdin.on('error', () => {});
    this.#lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
    void this.#listen();
  }

  say(message: ToObserver): void {
    this.#process.stdin?.write(`${JSON.stringify(message)}\n`);
  }

  async heard<K extends FromObserver['kind']>(kind: K): Promise<Heard<K>> {
    return (await this.#expected(kind).promise) as Heard<K>;
  }

  [Symbol.dispose](): void {
    this.#process.stdin?.end();
    this.#process.kill();
  }

  #expected(kind: FromObserver['kind']): PromiseWithResolvers<FromObserver> {
    const known = this.#heard.get(kind);
    if (known) return known;
    const expected = Promise.withResolvers<FromObserver>();
    // Whether anybody waits for it already or not, its failure is met in `heard`.
    expected.promise.catch(() => {});
    this.#heard.set(kind, expected);
    return expected;
  }

  async #listen(): Promise<void> {
    for (let next = await this.#lines.next(); !next.done; next = await this.#lines.next()) {
      const message = JSON.parse(next.value) as FromObserver;
      if (message.kind === 'progress') this.#onProgress(message);
      else this.#expected(message.kind).resolve(message);
    }
    const gone = new ConvoyError('CVY_UNREACHABLE', 'the observer ended before its verdict');
    for (const kind of ['ready', 'settled', 'verdict'] as const) this.#expected(kind).reject(gone);
  }
}
