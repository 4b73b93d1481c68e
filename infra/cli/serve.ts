// The commands that run something: start, dev, cloud, host, reset.
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import {
  cloudAddressOn,
  defaultPorts,
  hostSettings,
  packageRoot,
  portFault,
} from '../local/address.ts';
import type { StackPorts } from '../local/address.ts';
import { ConvoyError } from '../../shared/errors.ts';
import type { Progress } from './progress.ts';
import { exitCodes, note, printJson, printLine, WrongUse } from './output.ts';

export interface Global {
  json?: true;
}

interface DataFlags {
  data: string;
  memory?: true;
}

interface PortFlags {
  port: number;
  amqpPort: number;
  managementPort: number;
  cosmosPort: number;
}

interface StackFlags extends Global, DataFlags, PortFlags {
  app?: string;
  cors?: string;
  config?: string;
  brokerFaults?: true;
  cosmosFaultPort?: number;
  verbose?: true;
}

interface SampleFlags {
  once?: true;
  orders: number;
  seed: number;
  rate: number;
}

type Ended = (code: number) => void;

export function addServeCommands(program: Command, cliFile: string, ended: Ended): void {
  const start = program
    .command('start')
    .description('run the stack and the app, feed the sample stream, print the summary, serve on')
    .option('--once', 'end after the summary: exit code 0 only if every check in it holds')
    .option('--orders <n>', 'orders in the sample stream', wholeNumber(1, 100_000), 600)
    .option('--seed <n>', 'seed of the sample stream', wholeNumber(0, 2 ** 31), 1)
    .option('--rate <n>', 'messages per second, 0 = as fast as they go', wholeNumber(0), 300);
  stackFlags(start).action(async (_, command: Command) => {
    const flags = command.optsWithGlobals<StackFlags & SampleFlags>();
    ended(await runStack(flags, { cliFile, sample: flags, watch: false }));
  });

  const dev = program
    .command('dev')
    .description('run the stack and an app, start the host again when the app changes');
  stackFlags(dev).action(async (_, command: Command) => {
    ended(await runStack(await stackFlagsOf(command), { cliFile, watch: true }));
  });

  const cloud = program
    .command('cloud')
    .description('run only the cloud: Service Bus broker and Cosmos server')
    .option('--config <file>', "queues, in the shape of the Service Bus emulator's Config.json")
    .option('--broker-faults', 'let /faults on the management port make the broker fail')
    .option('--cosmos-fault-port <n>', 'open a port to make Cosmos requests fail', portNumber);
  dataFlags(cloudPortFlags(cloud)).action(async (_, command: Command) => {
    ended(await runCloud(command.optsWithGlobals<StackFlags>()));
  });

  const host = program
    .command('host')
    .description(
      'run only the host with the app; its cloud is the one in ServiceBusConnection and ' +
        'CosmosConnection, else the local one on the given ports',
    )
    .argument('[app]', 'the same as --app');
  appFlags(host);
  dataFlags(cloudPortFlags(host)).action(async (app: string | undefined, _, command: Command) => {
    if (app !== undefined) command.setOptionValue('app', app);
    ended(await runHost(await stackFlagsOf(command)));
  });

  program
    .command('reset')
    .description('empty the data folder; refused while a stack uses it')
    .option('--data <dir>', 'the data folder', '.convoy')
    .action(async (_, command: Command) => {
      const flags = command.optsWithGlobals<DataFlags & Global>();
      const { emptyDataFolder } = await import('../local/data-folder.ts');
      const wasThere = await emptyDataFolder(flags.data);
      if (flags.json) printJson({ folder: resolve(flags.data), emptied: wasThere });
      else printLine(`${resolve(flags.data)} ${wasThere ? 'is empty now' : 'was empty already'}`);
      ended(exitCodes.ok);
    });
}

function stackFlags(command: Command): Command {
  command.option(
    '--config <file>',
    "queues, in the shape of the Service Bus emulator's Config.json",
  );
  return dataFlags(cloudPortFlags(appFlags(command)));
}

function appFlags(command: Command): Command {
  return command
    .option(
      '--app <dir>',
      'folder of a built Functions app (default: this package); logs what `func start` would',
    )
    .option('--verbose', 'log what the host does')
    .option('--cors <origins>', 'allowed origins, comma separated (default: Host.CORS)')
    .option(
      '--port <n>',
      'HTTP port, 0 = any free (default with --app: Host.LocalHttpPort)',
      portNumber,
      defaultPorts.http,
    );
}

/** The flags; without --port an app's local.settings.json may name the port, as for `func`. */
async function stackFlagsOf(command: Command): Promise<StackFlags> {
  const flags = command.optsWithGlobals<StackFlags>();
  if (flags.app === undefined || command.getOptionValueSource('port') !== 'default') return flags;
  const { readLocalHost } = await import('../local/host/settings.ts');
  return { ...flags, port: readLocalHost(appDirOf(flags)).port ?? flags.port };
}

function cloudPortFlags(command: Command): Command {
  return command
    .option('--amqp-port <n>', 'AMQP port, 0 = any free', portNumber, defaultPorts.amqp)
    .option(
      '--management-port <n>',
      'Service Bus management and health port, 0 = any free',
      portNumber,
      defaultPorts.management,
    )
    .option('--cosmos-port <n>', 'Cosmos port, 0 = any free', portNumber, defaultPorts.cosmos);
}

function dataFlags(command: Command): Command {
  return command
    .option('--data <dir>', 'the data folder', '.convoy')
    .option('--memory', 'keep nothing on disk');
}

/** A parser for commander that names what it wants. */
export function wholeNumber(min: number, max = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    throw new WrongUse(`${text} is not a whole number from ${min} to ${max}`);
  };
}

const portNumber = wholeNumber(0, 65_535);

function portsOf(flags: PortFlags): StackPorts {
  return {
    http: flags.port,
    amqp: flags.amqpPort,
    management: flags.managementPort,
    cosmos: flags.cosmosPort,
  };
}

function dataDirOf(flags: DataFlags): string {
  return flags.memory ? ':memory:' : resolve(flags.data);
}

function appDirOf(flags: { app?: string }): string {
  const appDir = resolve(flags.app ?? packageRoot());
  if (!existsSync(join(appDir, 'host.json'))) {
    throw new WrongUse(`--app: ${appDir} holds no host.json, so it is no Functions app`);
  }
  return appDir;
}

/** Another app has no board. */
function readyLine(url: string, { app }: StackFlags): string {
  return app === undefined ? `ready ${url} board ${url}/api/board` : `ready ${url}`;
}

interface Mode {
  cliFile: string;
  watch: boolean;
  sample?: SampleFlags;
}

async function runStack(flags: StackFlags, mode: Mode): Promise<number> {
  const { launch } = await import('../local/launcher.ts');
  const dataDir = dataDirOf(flags);
  return launch({
    cliFile: mode.cliFile,
    appDir: appDirOf(flags),
    dataDir,
    ports: portsOf(flags),
    configFile: flags.config && resolve(flags.config),
    watch: mode.watch,
    isVerbose: flags.verbose === true || flags.app !== undefined,
    isColoured: process.stderr.isTTY && process.env['NO_COLOR'] === undefined,
    cors: flags.cors,
    log: note,
    onReady(stack) {
      if (flags.json) {
        const { url: http, serviceBus, cosmos, pids } = stack;
        printJson({ ready: true, http, serviceBus, cosmos, pids });
      } else printLine(readyLine(stack.url, flags));
      const { sample } = mode;
      return sample && feedSample({ flags, sample, dataDir, stack });
    },
  });
}

interface Feeding {
  flags: StackFlags;
  sample: SampleFlags;
  dataDir: string;
  stack: import('../local/launcher.ts').LaunchedStack;
}

/** Feeds the sample stream; without `--once` the stack serves on whatever the checks say. */
async function feedSample({ flags, sample, dataDir, stack }: Feeding): Promise<number> {
  const { runSample } = await import('../local/sample/run.ts');
  const { summaryPanel } = await import('../local/sample/summary.ts');
  const { openProgress } = await import('./progress.ts');
  const isLive = process.stderr.isTTY && !flags.json;
  let progress: Progress | undefined;
  const { summary, failures } = await runSample({
    url: stack.url,
    serviceBus: stack.serviceBus,
    usage: () => stack.usage(),
    dataDir,
    orders: sample.orders,
    seed: sample.seed,
    rate: sample.rate,
    onProgress({ sent, total, outputs }) {
      progress ??= openProgress('sample', total, isLive);
      progress.show(sent, `sent, ${outputs} outputs seen`);
    },
  });
  progress?.end();
  for (const failure of failures) note(`check failed: ${failure}`);
  if (!flags.json) for (const line of summaryPanel(summary, failures)) printLine(line);
  if (flags.json) printJson(summary);
  if (sample.once) return failures.length === 0 ? exitCodes.ok : exitCodes.no;
  if (!flags.json) printLine('serving on, Ctrl-C ends it');
  return new Promise<never>(() => {});
}

async function runCloud(flags: StackFlags): Promise<number> {
  const { runChild } = await import('../local/child.ts');
  const { startCloud } = await import('../local/cloud.ts');
  const { claim, openDataFolder, partOf } = await import('../local/data-folder.ts');
  return runChild({
    // The host may take four seconds to drain after the launcher is gone; five are the limit.
    orphan: { closeAfterMs: 3_000, endAfterMs: 4_800 },
    async start(isLaunched) {
      const folder = flags.memory ? undefined : openDataFolder(flags.data);
      const claimed = folder ? await claim(folder, 'cloud', { isLaunched }) : undefined;
      const dataDir = folder ? partOf(folder, 'cloud') : ':memory:';
      const { config: configFile, cosmosFaultPort, brokerFaults } = flags;
      const cloud = await startCloud({
        dataDir,
        ports: portsOf(flags),
        configFile,
        cosmosFaultPort,
        allowsBrokerFaults: brokerFaults,
      });
      const { serviceBus, serviceBusManagement, cosmos, ports } = cloud;
      return {
        ready: { kind: 'cloudReady', serviceBus, serviceBusManagement, cosmos, ports },
        usage: () => cloud.usage(),
        async close() {
          await cloud.close();
          claimed?.release();
        },
      };
    },
    announce({ kind: _, ...ready }) {
      if (flags.json) printJson({ ready: true, ...ready, pid: process.pid });
      else if ('cosmos' in ready) printLine(`ready ${ready.serviceBus} ${ready.cosmos}`);
    },
  });
}

async function runHost(flags: StackFlags): Promise<number> {
  const { runChild } = await import('../local/child.ts');
  const { startHost } = await import('../local/host/host.ts');
  const { HostFault } = await import('../local/host/faults.ts');
  const { corsOf } = await import('../local/host/settings.ts');
  const { claim, openDataFolder, partOf } = await import('../local/data-folder.ts');
  return runChild({
    orphan: { closeAfterMs: 0, endAfterMs: 4_000 },
    async start(isLaunched) {
      const appDir = appDirOf(flags);
      // a launcher names the app always, and says what it wants to hear
      const isVerbose = flags.verbose === true || (flags.app !== undefined && !isLaunched);
      const folder = flags.memory ? undefined : openDataFolder(resolve(flags.data));
      // the real worker runs in the folder of the app [functions-host.md 1.2]
      process.chdir(appDir);
      const claimed = folder ? await claim(folder, 'host', { isLaunched }) : undefined;
      // A storage account in the environment would be used for the hub; here the hub is ours.
      delete process.env['AzureWebJobsStorage'];
      const { ServiceBusConnection, CosmosConnection } = process.env;
      const isGiven = ServiceBusConnection !== undefined && CosmosConnection !== undefined;
      const host = await startHost({
        appDir,
        port: flags.port,
        dataDir: folder ? partOf(folder, 'host') : ':memory:',
        settings: isGiven ? givenSettings() : hostSettings(cloudAddressOn(portsOf(flags))),
        logLevel: isVerbose ? 'information' : 'warning',
        isColoured: process.env['FORCE_COLOR'] === '1',
        ...(flags.cors === undefined ? {} : { cors: corsOf(flags.cors) }),
        log: printLine,
      }).catch((error: unknown) => {
        // a fault of the app, not of ours: its text says all
        if (error instanceof HostFault) throw new ConvoyError('CVY_START', error.message);
        throw portFault(error, { http: flags.port });
      });
      return {
        ready: {
          kind: 'hostReady',
          port: host.port,
          url: host.url,
          functions: host.functions.length,
        },
        async close(drainMs) {
          await host.close(drainMs);
          claimed?.release();
        },
      };
    },
    announce(ready) {
      if (ready.kind !== 'hostReady') return;
      if (flags.json) printJson({ ready: true, http: ready.url, pid: process.pid });
      else printLine(readyLine(ready.url, flags));
    },
  });
}

/** What the environment says wins over local.settings.json, as for `func`. */
function givenSettings(): Record<string, string> {
  const names = ['ServiceBusConnection', 'ServiceBusAdministration', 'CosmosConnection'];
  const given = names.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { FUNCTIONS_WORKER_RUNTIME: 'node', ...Object.fromEntries(given) };
}
