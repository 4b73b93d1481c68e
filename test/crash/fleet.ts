// The processes of one round, as people run them: by the command line, on ports that stay.
//
// Owns:   which processes there are, their addresses and folders, who is who now.
// Leaves: the life of each to kept-process.ts, what happens to them to mishaps.ts.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { cloudAddressOn, hostSettings, packageRoot } from '../../infra/local/address.ts';
import type { CloudAddress, StackPorts } from '../../infra/local/address.ts';
import { isAlive } from '../cli/processes.ts';
import { KeptProcess } from './kept-process.ts';
import { lockSeconds } from './mishaps.ts';
import type { Topology, Victim } from './mishaps.ts';

const cliFile = join(packageRoot(), 'dist', 'infra', 'cli.js');

const healthyWithinMs = 90_000;

export interface FleetOptions {
  /** `single`: a cloud and one host, nobody above. */
  topology: Topology | 'single';
  /** Holds the data of all. */
  folder: string;
  /** A process said something, began or ended. */
  note(text: string): void;
  /** Changes the configuration of the queues before it is used. */
  configure?: ((queues: QueueConfig[]) => void) | undefined;
  /** For all processes. */
  env?: NodeJS.ProcessEnv | undefined;
  /** Opens the ports by which the cloud can be made to fail. */
  allowsFaults?: boolean | undefined;
}

type Ports = StackPorts & { other: number; faults: number };

/** The same ports for every life, so that clients find it again. */
async function freePorts(): Promise<Ports> {
  const servers = await Promise.all(
    Array.from({ length: 6 }, async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await new Promise((resolve) => server.once('listening', resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => {
    const address = server.address();
    return typeof address === 'object' ? (address?.port ?? 0) : 0;
  });
  const [http = 0, amqp = 0, management = 0, cosmos = 0, other = 0, faults = 0] = ports;
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return { http, amqp, management, cosmos, other, faults };
}

export interface QueueConfig {
  Name: string;
  Properties: Record<string, unknown>;
}

/** The queues of the samples, with locks that end soon. */
function writeConfig(file: string, configure: FleetOptions['configure']): void {
  const own = join(packageRoot(), 'infra', 'local', 'broker', 'Config.json');
  const config = JSON.parse(readFileSync(own, 'utf8')) as {
    UserConfig: { Namespaces: [{ Queues: QueueConfig[] }] };
  };
  for (const { Properties } of config.UserConfig.Namespaces[0].Queues) {
    Properties['LockDuration'] = `PT${lockSeconds}S`;
  }
  configure?.(config.UserConfig.Namespaces[0].Queues);
  writeFileSync(file, JSON.stringify(config));
}

export class Fleet implements AsyncDisposable {
  readonly address: CloudAddress;
  readonly url: string;
  /** Where the cloud can be made to fail. */
  readonly faultUrls: { broker: string; cosmos: string };
  readonly #options: FleetOptions;
  readonly #kept: KeptProcess[] = [];
  readonly #pids = new Set<number>();

  private constructor(options: FleetOptions, ports: Ports) {
    this.#options = options;
    this.address = cloudAddressOn(ports);
    this.url = `http://localhost:${ports.http}`;
    const config = join(options.folder, 'queues.json');
    writeConfig(config, options.configure);
    this.faultUrls = {
      broker: `http://localhost:${ports.management}/faults`,
      cosmos: `http://localhost:${ports.faults}/faults`,
    };
    const data = (part: string): string[] => ['--data', join(options.folder, part)];
    const cloudPorts = [
      ...['--amqp-port', String(ports.amqp), '--management-port', String(ports.management)],
      ...['--cosmos-port', String(ports.cosmos)],
    ];
    const httpPort = (port: number): string[] => ['--port', String(port)];
    if (options.topology === 'launched') {
      const flags = [...cloudPorts, ...httpPort(ports.http), '--config', config];
      this.#keep('launcher', ['dev', '--json', ...data('data'), ...flags]);
      return;
    }
    const faults = ['--broker-faults', '--cosmos-fault-port', String(ports.faults)];
    const flags = [...cloudPorts, '--config', config, ...(options.allowsFaults ? faults : [])];
    const env = { ...hostSettings(this.address), AzureWebJobsStorage: undefined };
    this.#keep('cloud', ['cloud', '--json', ...data('data'), ...flags]);
    this.#keep('host', ['host', '--json', ...data('a'), ...httpPort(ports.http)], env);
    if (options.topology === 'single') return;
    this.#keep('other-host', ['host', '--json', ...data('b'), ...httpPort(ports.other)], env);
  }

  static async start(options: FleetOptions): Promise<Fleet> {
    const fleet = new Fleet(options, await freePorts());
    await fleet.healthy();
    return fleet;
  }

  #keep(name: Victim, args: readonly string[], env?: NodeJS.ProcessEnv): void {
    const { note } = this.#options;
    const kept = new KeptProcess({
      name,
      args: () => [cliFile, ...args],
      env: { ...this.#options.env, ...env },
      onLine: (line) => note(`${name}: ${line}`),
      onLife: note,
    });
    this.#kept.push(kept);
  }

  /** Its process now, also one that is still starting; nothing while it is not there. */
  pidOf(victim: Victim): number | undefined {
    const kept = this.#kept.find(({ name }) => name === victim);
    const launcher = this.#kept.find(({ name }) => name === 'launcher')?.pid;
    const pid = kept ? kept.pid : launcher && childOf(launcher, victim);
    if (pid === undefined || !isAlive(pid)) return undefined;
    this.#pids.add(pid);
    return pid;
  }

  /** Where it keeps its data. */
  folderOf(victim: Victim): string {
    const { folder, topology } = this.#options;
    if (victim === 'cloud') return join(folder, 'data', 'cloud');
    if (topology === 'launched') return join(folder, 'data', 'host');
    return join(folder, victim === 'host' ? 'a' : 'b', 'host');
  }

  /** The files of the servers, once they have ended. */
  files(): string[] {
    const hosts: Victim[] = this.#options.topology === 'pair' ? ['host', 'other-host'] : ['host'];
    const cloud = ['service-bus.sqlite', 'cosmos.sqlite'].map((name) =>
      join(this.folderOf('cloud'), name),
    );
    const hubs = hosts.flatMap((host) =>
      ['hub.sqlite', 'host.sqlite'].map((name) => join(this.folderOf(host), name)),
    );
    return [...cloud, ...hubs];
  }

  /** Waits until the app and all it needs answer. */
  async healthy(): Promise<void> {
    const giveUpAt = Date.now() + healthyWithinMs;
    while (Date.now() < giveUpAt) {
      const response = await fetch(`${this.url}/api/health`, {
        signal: AbortSignal.timeout(2_000),
      }).catch(() => undefined);
      await response?.body?.cancel();
      if (response?.ok) return;
      await pause(50);
    }
    throw new Error(`the stack does not become healthy within ${healthyWithinMs} ms`);
  }

  /** Ends all in order; resolves with how each ended and what is left running. */
  async end(): Promise<{ endings: Record<string, number | string>; left: number[] }> {
    const endings: Record<string, number | string> = {};
    for (const kept of this.#kept.toReversed()) endings[kept.name] = await kept.end();
    return { endings, left: [...this.#pids].filter(isAlive) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#kept.map((kept) => kept[Symbol.asyncDispose]()));
  }
}

/** A folder below the disk, made. */
export function folderOn(path: string, name: string): string {
  const folder = join(path, name);
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** The process that a launcher has started for a command. */
function childOf(launcher: number, command: string): number | undefined {
  try {
    const children = readFileSync(`/proc/${launcher}/task/${launcher}/children`, 'utf8');
    const isMeant = (pid: string): boolean =>
      readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[2] === command;
    const found = children.trim().split(' ').filter(Boolean).find(isMeant);
    return found === undefined ? undefined : Number(found);
  } catch {
    // It has just ended.
    return undefined;
  }
}
