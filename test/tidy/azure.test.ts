// What is deployed is what the app expects: Bicep reads JSON files, the app reads its own code.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { convoys } from '../../functions/convoys/registry.ts';
import { queuesOf } from '../../shared/convoy/lane-plan.ts';
import { defaultSettings } from '../../shared/engine/ports.ts';
import { convoysContainer, windowsContainer } from '../../shared/store/cosmos-container.ts';

const read = (path: string): string =>
  readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const json = (path: string): unknown => JSON.parse(read(path));

describe('infra/azure', () => {
  test('deploys the indexing policies of the store', () => {
    expect(json('infra/azure/convoys-index.json')).toEqual(convoysContainer.indexingPolicy);
    expect(json('infra/azure/windows-index.json')).toEqual(windowsContainer.indexingPolicy);
  });

  test('makes the input queue of every registered convoy', () => {
    expect(json('infra/azure/queues.json')).toEqual(convoys.flatMap(queuesOf));
  });

  test('gives the app every connection that the local settings sample names', () => {
    const sample = json('local.settings.sample.json') as { Values: Record<string, string> };
    const needed = Object.keys(sample.Values).filter((name) => name.endsWith('Connection'));

    const deployed = read('infra/azure/app.bicep');

    expect(needed.filter((name) => !deployed.includes(`${name}__`))).toEqual([]);
  });

  test('refuses keys wherever a service can', () => {
    expect(read('infra/azure/messaging.bicep')).toContain('disableLocalAuth: true');
    expect(read('infra/azure/store.bicep')).toContain('disableLocalAuth: true');
    expect(read('infra/azure/app.bicep')).toContain('allowSharedKeyAccess: false');
  });
});

describe('host.json', () => {
  interface HostJson {
    extensions: { serviceBus: Record<string, string | number> };
  }
  const { serviceBus } = (json('host.json') as HostJson).extensions;
  const secondsOf = (span: unknown): number =>
    String(span)
      .split(':')
      .reduce((sum, part) => sum * 60 + Number(part), 0);

  test('slots divided by the idle time-out serve at least 200 sparse sessions a second', () => {
    const slots = Number(serviceBus['maxConcurrentSessions']);

    expect(slots / secondsOf(serviceBus['sessionIdleTimeout'])).toBeGreaterThanOrEqual(200);
  });

  test('H9, H10: the engine counts with the function time-out of the host', () => {
    const { functionTimeout } = json('host.json') as { functionTimeout: string };

    expect(secondsOf(functionTimeout)).toBe(defaultSettings.functionTimeoutSeconds);
  });

  test('one call per session, no prefetch, renewal longer than the longest invocation', () => {
    const { functionTimeout } = json('host.json') as { functionTimeout: string };

    expect(serviceBus['maxConcurrentCallsPerSession']).toBe(1);
    expect(serviceBus['prefetchCount']).toBe(0);
    expect(secondsOf(serviceBus['maxAutoLockRenewalDuration'])).toBeGreaterThan(
      secondsOf(functionTimeout),
    );
  });
});
