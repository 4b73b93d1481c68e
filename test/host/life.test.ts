import { afterEach, describe, expect, test } from 'vitest';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startHost, type FunctionsHost, type HostOptions } from '../../infra/local/host/host.ts';
import { readHostSettings } from '../../infra/local/host/host-json.ts';
import { virtualClock } from '../../shared/clock.ts';
import { fixture } from './harness.ts';

let host: FunctionsHost | undefined;
const lines: string[] = [];
const happened = ((globalThis as { happened?: string[] }).happened ??= []);

async function open(app: string, options: Partial<HostOptions> = {}): Promise<FunctionsHost> {
  lines.length = 0;
  const log = (line: string): void => void lines.push(line);
  host = await startHost({ appDir: fixture(app), port: 0, dataDir: ':memory:', log, ...options });
  return host;
}

afterEach(async () => {
  await host?.close();
  host = undefined;
});

describe('life of a host', () => {
  test('index loads first, then functions, then appStart; a second host re-uses them', async () => {
    const first = await open('common');
    await first.close();
    const second = await open('common');

    const answer = await fetch(`${second.url}/quick`);

    expect(await answer.text()).toBe('quick');
    expect(happened).toEqual(['load true', 'slow.js', 'appStart', 'appTerminate', 'appStart']);
  });

  test('two hosts on one app at a time are refused', async () => {
    await open('common');

    await expect(
      startHost({ appDir: fixture('common'), port: 0, dataDir: ':memory:', log: () => {} }),
    ).rejects.toThrow('already open');
  });

  test('a file that cannot be loaded is named, and nothing stays open', async () => {
    const before = process.env['WEBSITE_HOSTNAME'];

    await expect(open('broken')).rejects.toThrow(
      /unable to load entry point ".*bad\.js": no such table/,
    );
    expect(process.env['WEBSITE_HOSTNAME']).toBe(before);
  });

  test('a busy port is told with its code and number', async () => {
    const { port } = await open('common');

    await expect(open('flow', { port })).rejects.toMatchObject({ code: 'EADDRINUSE', port });
  });

  test('a run beyond functionTimeout ends the process with a clear line', async () => {
    const clock = virtualClock();
    const fatal: string[] = [];
    const { url } = await open('common', { clock, onFatal: (reason) => void fatal.push(reason) });
    const leaving = new AbortController();
    const slow = fetch(`${url}/slow`, { signal: leaving.signal }).catch(() => {});
    while (!(await isRunning(url)));

    await clock.advance(9_999);
    expect(fatal).toEqual([]);
    await clock.advance(1);

    expect(fatal[0]).toMatch(
      /^Timeout value of 00:00:10 exceeded by function 'Functions\.slow' \(Id: '.*'\)/,
    );
    leaving.abort();
    await slow;
  }, 15_000);

  test('settings handed in leave the environment when the host closes', async () => {
    const one = await open('common', { settings: { COMMON_SETTING: 'here' } });
    expect(process.env['COMMON_SETTING']).toBe('here');

    await one.close();

    expect(process.env['COMMON_SETTING']).toBeUndefined();
  });

  test('a typo under serviceBus is named', async () => {
    await open('common');

    expect(lines.join('\n')).toContain('unknown key extensions.serviceBus.maxConcurentSessions');
  });
});

async function isRunning(url: string): Promise<boolean> {
  const status = await fetch(`${url}/admin/host/drain/status`);
  return ((await status.json()) as { outstandingInvocations: number }).outstandingInvocations > 0;
}

describe('host.json', () => {
  const read = (json: string, environment: Record<string, string> = {}) => {
    const dir = mkdtempSync(join(tmpdir(), 'convoy-hostjson-'));
    writeFileSync(join(dir, 'host.json'), json);
    Object.assign(process.env, environment);
    const warnings: string[] = [];
    try {
      return { settings: readHostSettings(dir, (text) => warnings.push(text)), warnings };
    } finally {
      for (const name of Object.keys(environment)) delete process.env[name];
      rmSync(dir, { recursive: true });
      expect(existsSync(dir)).toBe(false);
    }
  };

  test('Azure defaults stand where host.json says nothing', () => {
    const { serviceBus, functionTimeoutMs, routePrefix } = read('{"version":"2.0"}').settings;

    expect({ functionTimeoutMs, routePrefix }).toEqual({
      functionTimeoutMs: 1_800_000,
      routePrefix: 'api',
    });
    expect(serviceBus).toMatchObject({
      maxConcurrentSessions: 8,
      sessionIdleTimeoutMs: 60_000,
      maxAutoLockRenewalMs: 300_000,
      autoCompleteMessages: true,
    });
  });

  test('the environment overrides host.json, whatever the case', () => {
    const { settings } = read(
      '{"version":"2.0","extensions":{"serviceBus":{"maxConcurrentSessions":4}}}',
      {
        AzureFunctionsJobHost__Extensions__ServiceBus__MaxConcurrentSessions: '9',
        AzureFunctionsJobHost__functionTimeout: '-1',
      },
    );

    expect(settings.serviceBus.maxConcurrentSessions).toBe(9);
    expect(settings.functionTimeoutMs).toBe(Infinity);
  });

  test('every fault is named at once', () => {
    const json = JSON.stringify({
      version: '2.0',
      functionTimeout: 'long',
      extensions: {
        serviceBus: { maxConcurrentSessions: 0 },
        http: { maxConcurrentRequests: 'x' },
      },
    });

    for (const part of ["'long'", 'maxConcurrentSessions is 0', 'maxConcurrentRequests is "x"']) {
      expect(() => read(json)).toThrow(part);
    }
  });

  test('what this host has not is named, and an app that asks for it starts all the same', () => {
    const { settings, warnings } = read(
      JSON.stringify({
        version: '2.0',
        concurrency: { dynamicConcurrencyEnabled: true },
        extensions: {
          serviceBus: { prefetchCount: 5, transportType: 'amqpWebSockets' },
          http: { hsts: { isEnabled: true } },
        },
      }),
    );

    for (const part of ['dynamicConcurrencyEnabled', 'prefetchCount', 'extensions.http.hsts']) {
      expect(warnings.join('\n')).toContain(part);
    }
    expect(settings.serviceBus.unsupported).toEqual([
      'extensions.serviceBus.transportType = "amqpWebSockets"',
    ]);
  });

  test.each([
    ['{"version":"1.0"}', "'1.0' is an invalid value"],
    ['{"functions":[]}', "missing the required 'version' property"],
    ['{oops', 'Unable to parse host configuration file'],
  ])('%s is refused', (json, message) => {
    expect(() => read(json)).toThrow(message);
  });

  test('infinite renewal is written as one negative millisecond', () => {
    const json =
      '{"version":"2.0","extensions":' +
      '{"serviceBus":{"maxAutoLockRenewalDuration":"-00:00:00.0010000"}}}';

    expect(read(json).settings.serviceBus.maxAutoLockRenewalMs).toBe(Infinity);
  });
});
