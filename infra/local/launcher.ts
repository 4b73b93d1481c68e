// `convoy start` and `convoy dev`: starts the cloud and the host, keeps them running, ends them.
//
// Owns:   order of starting and ending, restarts, signals, the ready line.
// Leaves: one process's life to supervisor.ts, what runs in it to child.ts, the stream to sample/.
//
// L1. Ending: the host first, the cloud only after it; exit code 0; all of it under ten seconds.
// L2. The first signal begins the end; one more than a second later enforces it. (A terminal sends
//     Ctrl-C to the whole group and npm passes it on once more: that is one wish, not two.)
//     Under npm the death of the parent is such a wish too: a signal to npm ends the shell between
//     us and not us.
// L3. Ports found at the first start are kept for every restart, whatever the flags said.
import { realClock } from '../../shared/clock.ts';
import type { ReadyMessage } from './supervisor.ts';
import { SupervisedProcess } from './supervisor.ts';
import { hostSettings } from './address.ts';
import type { CloudAddress, StackPorts, StackUsage } from './address.ts';
import { claim, forgetStackAddress, openDataFolder, writeStackAddress } from './data-folder.ts';
import { watchApp } from './watch.ts';

export interface LaunchOptions {
  /** The file whose `cloud` and `host` commands the processes run. */
  cliFile: string;
  appDir: string;
  dataDir: string | ':memory:';
  ports: StackPorts;
  configFile?: string | undefined;
  /** Restart the host when the built app changes. */
  watch: boolean;
  isVerbose: boolean;
  /** The lines go to a terminal that shows colours. */
  isColoured: boolean;
  /** Allowed origins, comma separated. */
  cors?: string | undefined;
  log(line: string): void;
  /** Everything is up. What it returns ends the stack when it settles; nothing = run on. */
  onReady(stack: LaunchedStack): Promise<number> | undefined;
}

export interface LaunchedStack extends CloudAddress {
  url: string;
  pids: { cloud: number | undefined; host: number | undefined };
  usage(): Promise<StackUsage>;
}

const hostEndsWithinMs = 7_000;
const cloudEndsWithinMs = 2_000;
const signalsApartMs = 1_000;
const parentWatchMs = 500;

/** Runs the stack until it is told to end; resolves with the exit code. */
export async function launch(options: LaunchOptions): Promise<number> {
  const isInMemory = options.dataDir === ':memory:';
  const folder = isInMemory ? undefined : openDataFolder(options.dataDir);
  const claimed = folder ? await claim(folder, 'stack') : undefined;
  const processes = new Processes(options, folder ?? ':memory:');
  const stopListening = onSignals(processes);
  try {
    const stack = await processes.start();
    if (folder) {
      const { serviceBus, serviceBusManagement, cosmos } = stack;
      const address = { serviceBus, serviceBusManagement, cosmos };
      writeStackAddress(folder, { pid: process.pid, http: stack.url, ...address });
    }
    await using watch = options.watch
      ? await watchApp(options.appDir, options.log, () => void processes.host?.restart())
      : undefined;
    void watch;
    const failed = Promise.withResolvers<never>();
    options.onReady(stack)?.then((code) => processes.end(code), failed.reject);
    return await Promise.race([processes.ended, failed.promise]);
  } catch (error) {
    if (error instanceof EndedWhileStarting) return await processes.ended;
    throw error;
  } finally {
    await processes.stop();
    stopListening();
    if (folder) forgetStackAddress(folder);
    claimed?.release();
  }
}

class Processes {
  readonly #options: LaunchOptions;
  readonly #dataDir: string;
  readonly #ended = Promise.withResolvers<number>();
  #cloud: SupervisedProcess | undefined;
  #host: SupervisedProcess | undefined;
  #ports: StackPorts;
  #stopping: Promise<void> | undefined;

  constructor(options: LaunchOptions, dataDir: string) {
    this.#options = options;
    this.#dataDir = dataDir;
    this.#ports = { ...options.ports };
  }

  get host(): SupervisedProcess | undefined {
    return this.#host;
  }

  /** Resolves with the exit code when something has asked for the end. */
  get ended(): Promise<number> {
    return this.#ended.promise;
  }

  end(code: number): void {
    this.#ended.resolve(code);
  }

  async start(): Promise<LaunchedStack> {
    const cloud = (this.#cloud = this.#superviseCloud());
    const cloudReady = await this.#unlessEnded(cloud.firstReady);
    if (cloudReady.kind !== 'cloudReady') throw new TypeError('the cloud said it is a host');
    this.#ports = { ...this.#ports, ...cloudReady.ports };
    const { serviceBus, serviceBusManagement, cosmos } = cloudReady;
    const address = { serviceBus, serviceBusManagement, cosmos };
    const host = (this.#host = this.#superviseHost(address));
    const hostReady = await this.#unlessEnded(host.firstReady);
    if (hostReady.kind !== 'hostReady') throw new TypeError('the host said it is a cloud');
    this.#ports.http = hostReady.port;
    return {
      url: hostReady.url,
      ...address,
      pids: { cloud: cloud.pid, host: host.pid },
      usage: async () => ({
        ...((await cloud.usage()) ?? { serviceBusOperations: 0, cosmosRequestUnits: 0 }),
        storageTransactions: await hostTransactions(hostReady.url),
        restarts: cloud.restarts + host.restarts,
      }),
    };
  }

  /** Ends the host, then the cloud [L1]; the same end for everyone who asks. */
  stop(): Promise<void> {
    this.#stopping ??= (async () => {
      await this.#host?.stop(hostEndsWithinMs);
      await this.#cloud?.stop(cloudEndsWithinMs);
    })();
    return this.#stopping;
  }

  kill(): void {
    this.#host?.kill();
    this.#cloud?.kill();
  }

  async #unlessEnded(ready: Promise<ReadyMessage>): Promise<ReadyMessage> {
    const first = await Promise.race([ready, this.ended]);
    if (typeof first === 'number') throw new EndedWhileStarting();
    return first;
  }

  #superviseCloud(): SupervisedProcess {
    const { cliFile, configFile, log } = this.#options;
    return new SupervisedProcess({
      name: 'cloud',
      command: () => ({
        args: [
          ...[cliFile, 'cloud', ...this.#dataFlags()],
          ...['--amqp-port', String(this.#ports.amqp)],
          ...['--management-port', String(this.#ports.management)],
          ...['--cosmos-port', String(this.#ports.cosmos)],
          ...(configFile ? ['--config', configFile] : []),
        ],
        env: process.env,
      }),
      log: (line) => log(line),
      onStopRequested: () => this.end(0),
      onDeath: (reason) => {
        if (this.#dataDir !== ':memory:') return true;
        log(`cloud ended (${reason}) and its memory with it, so the stack ends`);
        this.end(1);
        return false;
      },
    });
  }

  #superviseHost(address: CloudAddress): SupervisedProcess {
    const { cliFile, appDir, isVerbose, isColoured, cors, log } = this.#options;
    const colour = isColoured ? { FORCE_COLOR: '1' } : {};
    return new SupervisedProcess({
      name: 'host',
      command: () => ({
        args: [
          ...[cliFile, 'host', '--app', appDir, ...this.#dataFlags()],
          ...['--port', String(this.#ports.http)],
          ...(isVerbose ? ['--verbose'] : []),
          ...(cors === undefined ? [] : ['--cors', cors]),
        ],
        env: {
          ...process.env,
          ...colour,
          ...hostSettings(address),
          AzureWebJobsStorage: undefined,
        },
      }),
      log: (line) => log(line),
      onStopRequested: () => this.end(0),
    });
  }

  #dataFlags(): string[] {
    return this.#dataDir === ':memory:' ? ['--memory'] : ['--data', this.#dataDir];
  }
}

class EndedWhileStarting extends Error {}

function onSignals(processes: Processes): () => void {
  let firstAt: number | undefined;
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  const onSignal = (): void => {
    firstAt ??= realClock.now();
    if (realClock.now() - firstAt > signalsApartMs) processes.kill(); // [L2]
    processes.end(0);
  };
  for (const signal of signals) process.on(signal, onSignal);
  const parent = process.ppid;
  // Only under npm: a launcher that somebody detached on purpose outlives its parent.
  const watch = process.env['npm_lifecycle_event']
    ? setInterval(() => process.ppid !== parent && processes.end(0), parentWatchMs).unref()
    : undefined;
  return () => {
    clearInterval(watch);
    for (const signal of signals) process.off(signal, onSignal);
  };
}

async function hostTransactions(url: string): Promise<number> {
  try {
    const response = await fetch(`${url}/admin/host/usage`);
    const usage: unknown = await response.json();
    const isUsage = typeof usage === 'object' && usage !== null && 'storageTransactions' in usage;
    return isUsage ? Number(usage.storageTransactions) : 0;
  } catch {
    return 0;
  }
}
