// Config.json in the emulator's shape: what is not understood is refused by name.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parseNamespaceConfig } from '../../infra/local/broker/broker.ts';
import { durationOfSeconds, secondsOfDuration } from '../../infra/local/broker/config.ts';

const around = (...queues: unknown[]): unknown => ({
  UserConfig: { Namespaces: [{ Name: 'sbemulatorns', Queues: queues }] },
});

const shipped = new URL('../../infra/local/broker/Config.json', import.meta.url);

describe('Config.json', () => {
  test('the shipped file names the sample queues', () => {
    const { queues } = parseNamespaceConfig(JSON.parse(readFileSync(shipped, 'utf8')));

    expect(queues.map((queue) => queue.name)).toEqual([
      ...['orders', 'ledger', 'incidents'],
      ...['orders-out', 'ledger-out', 'incidents-out'],
    ]);
    expect(queues[0]?.properties).toEqual({
      requiresSession: true,
      lockDurationSeconds: 60,
      maxDeliveryCount: 10,
      deadLetterOnExpiration: false,
    });
    expect(queues[4]?.properties).toEqual({
      requiresSession: true,
      lockDurationSeconds: 60,
      maxDeliveryCount: 10,
      defaultTimeToLiveSeconds: 3600,
      deadLetterOnExpiration: false,
      duplicateDetectionSeconds: 600,
    });
  });

  test('every fault is named in one error', () => {
    const faulty = around(
      { Name: 'a', Properties: { ForwardTo: 'b', Colour: 'red', LockDuration: 'soon' } },
      { Name: 'A', Properties: { MaxDeliveryCount: 11, DefaultMessageTimeToLive: 'PT2H' } },
      { Properties: {} },
    );

    for (const fault of [
      ...['Colour', 'ForwardTo', 'LockDuration', 'MaxDeliveryCount', 'DefaultMessageTimeToLive'],
      ...['used twice', 'Name is missing'],
    ]) {
      expect(() => parseNamespaceConfig(faulty)).toThrow(fault);
    }
  });

  test('topics are refused by name', () => {
    const topics = { UserConfig: { Namespaces: [{ Queues: [], Topics: [{ Name: 't' }] }] } };

    expect(() => parseNamespaceConfig(topics)).toThrow('Topics are not supported');
  });

  test('durations read and write back', () => {
    const cases: [string, number][] = [
      ['PT1M', 60],
      ['PT1H30M', 5_400],
      ['P1DT2S', 86_402],
      ['P7D', 604_800],
      ['PT0.5S', 0.5],
    ];
    for (const [text, seconds] of cases) {
      expect(secondsOfDuration(text)).toBe(seconds);
      expect(durationOfSeconds(seconds)).toBe(text);
    }
    for (const text of ['', 'P', 'PT', '1M', 'PT1X']) {
      expect(secondsOfDuration(text)).toBeUndefined();
    }
  });
});
