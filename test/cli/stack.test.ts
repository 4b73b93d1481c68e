// The life of the three processes, with real signals. Each test owns its process group.
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { anyPorts, eventually, fixtureDir, isAlive, startCli, tempFolder } from './processes.ts';
import type { Ready } from './processes.ts';

const dev = ['dev', '--json', '--app', fixtureDir, ...anyPorts];
const limit = { timeout: 30_000 };

const hello = async ({ http }: Ready): Promise<{ pid: number; storage?: string }> =>
  (await (await fetch(`${http}/api/hello`)).json()) as { pid: number };
const managementPort = (folder: string) => async () => {
  const { readStackAddress } = await import('../../infra/local/data-folder.ts');
  return /localhost:(\d+)/.exec(readStackAddress(folder)?.serviceBusManagement ?? '')?.[1];
};
const bothGone = ({ pids }: Ready) => eventually(() => !isAlive(pids.cloud) && !isAlive(pids.host));

describe('a stack', () => {
  test(
    'announces itself, serves, and ends host first on SIGTERM with exit code 0',
    limit,
    async () => {
      using data = tempFolder();
      await using cli = startCli([...dev, '--data', data.path], { AzureWebJobsStorage: 'someone' });
      const ready = await cli.ready();

      expect(await hello(ready)).toEqual({ pid: ready.pids.host });
      cli.signal('SIGTERM');

      expect(await cli.exit).toBe(0);
      expect(cli.output()).toContain('terminating, cloud health 200');
      expect([ready.pids.cloud, ready.pids.host].map(isAlive)).toEqual([false, false]);
      expect(cli.output()).not.toContain('starting it again');
    },
  );

  test('ends in order when Ctrl-C reaches all of it, and npm repeats it', limit, async () => {
    await using cli = startCli([...dev, '--memory']);
    const ready = await cli.ready();

    cli.signal('SIGINT', 'group');
    cli.signal('SIGINT');

    expect(await cli.exit).toBe(0);
    expect(cli.output()).toContain('terminating, cloud health 200');
    await bothGone(ready);
  });

  test.each(['host', 'cloud'] as const)(
    'ends in order when only its %s gets SIGTERM',
    limit,
    async (name) => {
      await using cli = startCli([...dev, '--memory']);
      const ready = await cli.ready();

      process.kill(ready.pids[name], 'SIGTERM');

      expect(await cli.exit).toBe(0);
      expect(cli.output()).toContain('terminating, cloud health 200');
      await bothGone(ready);
    },
  );

  test(
    'starts a killed host and a killed cloud again, on the same ports, and says so',
    limit,
    async () => {
      using data = tempFolder();
      await using cli = startCli([...dev, '--data', data.path]);
      const ready = await cli.ready();
      const port = await managementPort(data.path)();

      process.kill(ready.pids.host, 'SIGKILL');
      await cli.line('host ended (SIGKILL), starting it again');
      const answer = await eventually(() => hello(ready).catch(() => undefined));
      process.kill(ready.pids.cloud, 'SIGKILL');
      await cli.line('cloud ended (SIGKILL), starting it again');
      const health = await eventually(() =>
        fetch(`http://localhost:${port}/health`).catch(() => undefined),
      );

      expect(answer.pid).not.toBe(ready.pids.host);
      expect(health.status).toBe(200);
      cli.signal('SIGTERM');
      expect(await cli.exit).toBe(0);
    },
  );

  test(
    'leaves nothing running when its launcher is killed, and can be started again',
    limit,
    async () => {
      using data = tempFolder();
      await using cli = startCli([...dev, '--data', data.path]);
      const ready = await cli.ready();

      cli.signal('SIGKILL');
      // At once: the processes of the first still hold the folder and end by themselves.
      await using second = startCli([...dev, '--data', data.path]);
      const again = await second.ready();

      await bothGone(ready);
      expect((await hello(again)).pid).toBe(again.pids.host);
      second.signal('SIGTERM');
      expect(await second.exit).toBe(0);
    },
  );

  test('ends when it is told to while it is still starting', limit, async () => {
    using data = tempFolder();
    await using cli = startCli([...dev, '--data', data.path]);

    await eventually(() => import('node:fs').then((fs) => fs.existsSync(join(data.path, 'cloud'))));
    cli.signal('SIGTERM', 'group');

    expect(await cli.exit).toBe(0);
    expect(cli.output()).not.toContain('"ready":true');
  });
});

describe('a stack that cannot be', () => {
  test(
    'on a folder in use is refused by folder and process; so is emptying it',
    limit,
    async () => {
      using data = tempFolder();
      await using cli = startCli([...dev, '--data', data.path]);
      await cli.ready();

      await using second = startCli([...dev, '--data', data.path]);
      await using reset = startCli(['reset', '--data', data.path]);

      for (const refused of [second, reset]) {
        expect(await refused.exit).toBe(1);
        const line = await refused.line('CVY_DATA_IN_USE');
        expect(line).toContain(data.path);
        expect(line).toContain(`process ${cli.pid}`);
      }
    },
  );

  test.each(['--port', '--amqp-port', '--management-port', '--cosmos-port'])(
    'with a busy port for %s is refused in one line that names the flag',
    limit,
    async (flag) => {
      const occupant = createServer().listen(0, '127.0.0.1');
      await new Promise((resolve) => occupant.on('listening', resolve));
      const { port } = occupant.address() as AddressInfo;

      await using cli = startCli([...dev, '--memory', flag, String(port)]);

      expect(await cli.exit).toBe(1);
      const line = await cli.line('CVY_PORT_BUSY');
      expect(line).toContain(`${port}`);
      expect(line).toContain(flag);
      expect(
        cli
          .output()
          .trim()
          .split('\n')
          .filter((one) => !one.startsWith('{')),
      ).toHaveLength(1);
      occupant.close();
    },
  );

  test('on a folder of somebody else is refused, and nothing in it is touched', limit, async () => {
    using data = tempFolder();
    writeFileSync(join(data.path, 'thesis.txt'), 'all of it');

    for (const args of [
      [...dev, '--data', data.path],
      ['reset', '--data', data.path],
    ]) {
      await using cli = startCli(args);
      expect(await cli.exit).toBe(1);
      await cli.line('CVY_DATA_FOREIGN');
    }
    const { readdirSync } = await import('node:fs');
    expect(readdirSync(data.path)).toEqual(['thesis.txt']);
  });
});
