// local.settings.json, and which lines the console shows.
import { afterEach, describe, expect, test } from 'vitest';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSay, type HostLogLevel } from '../../infra/local/host/console.ts';
import { applyEnvironment, readLocalHost } from '../../infra/local/host/settings.ts';
import { virtualClock } from '../../shared/clock.ts';

const folders: string[] = [];
function appWith(settings: string): string {
  const dir = mkdtempSync(join(tmpdir(), 'convoy-settings-'));
  folders.push(dir);
  writeFileSync(join(dir, 'local.settings.json'), settings);
  return dir;
}
afterEach(() => folders.splice(0).forEach((dir) => rmSync(dir, { recursive: true })));

describe('local.settings.json', () => {
  test('values become the environment, unless it has them; own settings win', () => {
    const warnings: string[] = [];
    process.env['CONVOY_TEST_TAKEN'] = 'environment';
    const undo = applyEnvironment(
      appWith(`{
        "IsEncrypted": false,
        "Values": {
          "CONVOY_TEST_TAKEN": "file", "CONVOY_TEST_OWN": "file", "CONVOY_TEST_FILE": 5,
          "CONVOY_TEST_NESTED": { "a": 1 }
        },
        "ConnectionStrings": { "Shop": { "ConnectionString": "Endpoint=x", "ProviderName": "y" } }
      }`),
      { CONVOY_TEST_OWN: 'own' },
      (text) => warnings.push(text),
    );
    const name = (key: string): string | undefined => process.env[`CONVOY_TEST_${key}`];
    const seen = [name('TAKEN'), name('OWN'), name('FILE'), name('NESTED')];
    const connection = process.env['ConnectionStrings:Shop'];
    undo();

    expect(seen).toEqual(['environment', 'own', '5', undefined]);
    expect(connection).toBe('Endpoint=x');
    expect(warnings.join('\n')).toContain("Skipping 'CONVOY_TEST_TAKEN' from local settings");
    expect(warnings.join('\n')).toContain('CONVOY_TEST_NESTED__part');
    expect([name('OWN'), name('FILE')]).toEqual([undefined, undefined]);
    delete process.env['CONVOY_TEST_TAKEN'];
  });

  test.each(['{"IsEncrypted":true,"Values":{"A":"x"}}', '{"Values":{"A":"x"}}'])(
    'encrypted values are refused by name: %s',
    (json) => {
      expect(() => applyEnvironment(appWith(json), {}, () => {})).toThrow(
        'encrypted settings are not supported by the local host',
      );
    },
  );

  test('the Host section gives port and CORS', () => {
    const host = { LocalHttpPort: 7072, CORS: 'http://a.example, http://b.example/' };
    const json = JSON.stringify({ IsEncrypted: false, Host: { ...host, CORSCredentials: true } });

    expect(readLocalHost(appWith(json))).toEqual({
      port: 7072,
      cors: { origins: ['http://a.example', 'http://b.example'], isCredentialed: true },
    });
    expect(readLocalHost(tmpdir()).cors.origins).toEqual([]);
  });
});

describe('the console', () => {
  const shown = (
    least: HostLogLevel,
    levels: Record<string, HostLogLevel | 'none'> = {},
    isColoured = false,
  ): string[] => {
    const lines: string[] = [];
    const write = (line: string): void => void lines.push(line.slice(line.indexOf(']') + 2));
    const say = createSay({
      least,
      clock: virtualClock(),
      write,
      isColoured,
      levels: () => levels,
    });
    say('information', 'executing', 'Function.one');
    say('information', 'user', 'Function.one.User');
    say('debug', 'detail', 'Function.one.User');
    say('warning', 'host');
    say('information', 'other', 'Function.two');
    return lines;
  };

  test.each<[string, HostLogLevel, Record<string, HostLogLevel | 'none'>, string[]]>([
    ['a quiet host shows warnings only', 'warning', {}, ['host']],
    ['at information, what func shows', 'information', {}, ['executing', 'user', 'host', 'other']],
    [
      'the longest category decides',
      'information',
      { Function: 'none', 'Function.one.user': 'debug' },
      ['user', 'detail', 'host'],
    ],
    ['default counts where no category does', 'information', { default: 'warning' }, ['host']],
    ['debug shows all', 'debug', {}, ['executing', 'user', 'detail', 'host', 'other']],
  ])('%s', (_, least, levels, wanted) => {
    expect(shown(least, levels)).toEqual(wanted);
  });

  test('lines are stamped singly, and coloured by level where asked', () => {
    const lines: string[] = [];
    const write = (line: string): void => void lines.push(line);
    const options = { least: 'warning' as const, clock: virtualClock(), write, levels: () => ({}) };

    createSay(options)('error', 'one\ntwo');
    createSay({ ...options, isColoured: true })('error', 'three');

    expect(lines.slice(0, 2)).toEqual([
      '[2026-01-01T00:00:00.000Z] one',
      '[2026-01-01T00:00:00.000Z] two',
    ]);
    expect(lines[2]).toBe('\u001B[90m[2026-01-01T00:00:00.000Z] \u001B[0m\u001B[31mthree\u001B[0m');
  });
});
