// Config.json in the emulator's shape: what is not understood is refused by name.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parseNamespaceConfig } from '../../infra/local/broker/broker.ts';
import { durationOfSeconds, secondsOfDuration } from '../../infra/local/broker/durations.ts';

const around = (...queues: unknown[]): unknown => ({
  UserConfig: { Namespaces: [{ Name: 'sbemulatorns', Queues: queues }] },
});

const withTopics = (...topics: unknown[]): unknown => ({
  UserConfig: { Namespaces: [{ Name: 'sbemulatorns', Queues: [], Topics: topics }] },
});

const queuesOfApp = [
  ...['orders', 'ledger', 'incidents', 'telemetry'],
  ...['ledger-by-seq', 'incidents-by-seq', 'telemetry-by-seq'],
];
const shipped = new URL('../../infra/local/broker/Config.json', import.meta.url);

describe('Config.json', () => {
  test('the shipped file names the sample queues', () => {
    const { queues } = parseNamespaceConfig(JSON.parse(readFileSync(shipped, 'utf8')));

    expect(queues.map((queue) => queue.name)).toEqual([
      ...queuesOfApp,
      ...queuesOfApp.map((name) => `${name}-out`),
    ]);
    expect(queues[0]?.properties).toEqual({
      requiresSession: true,
      lockDurationSeconds: 60,
      maxDeliveryCount: 10,
      deadLetterOnExpiration: false,
    });
    expect(queues[8]?.properties).toEqual({
      requiresSession: true,
      lockDurationSeconds: 60,
      maxDeliveryCount: 10,
      defaultTimeToLiveSeconds: 3600,
      deadLetterOnExpiration: false,
      duplicateDetectionSeconds: 300,
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

  test('topics bring their subscriptions, these their rules', () => {
    const rules = [
      {
        Name: 'red',
        Properties: {
          FilterType: 'Sql',
          SqlFilter: { SqlExpression: "color = 'red'" },
          Action: { SqlExpression: 'SET n = 1' },
        },
      },
      {
        Name: 'big',
        Properties: {
          FilterType: 'Correlation',
          CorrelationFilter: { Label: 'big', Properties: { size: 7 } },
        },
      },
    ];
    const topic = {
      Name: 't',
      Properties: { RequiresDuplicateDetection: true },
      Subscriptions: [
        { Name: 's', Properties: { RequiresSession: true }, Rules: rules },
        { Name: 'all' },
      ],
    };

    const parsed = parseNamespaceConfig(withTopics(topic)).topics?.[0];

    expect(parsed?.properties).toMatchObject({ duplicateDetectionSeconds: 600 });
    expect(parsed?.subscriptions.map(({ name, rules: own }) => [name, own.length])).toEqual([
      ['s', 2],
      ['all', 0],
    ]);
    expect(parsed?.subscriptions[0]?.properties.requiresSession).toBe(true);
    expect(parsed?.subscriptions[0]?.rules).toMatchObject([
      { name: 'red', filter: { kind: 'sql' }, action: { expression: 'SET n = 1' } },
      { name: 'big', filter: { kind: 'correlation', user: new Map([['size', 7n]]) } },
    ]);
  });

  test('every fault of a topic is named in one error', () => {
    const rule = (filter: string) => ({
      Name: 'bad',
      Properties: { FilterType: 'Sql', SqlFilter: { SqlExpression: filter } },
    });
    const faulty = withTopics(
      { Name: 't', Properties: { LockDuration: 'PT1M' }, Subscriptions: [{ Name: 's' }] },
      {
        Name: 'T',
        Subscriptions: [
          { Name: 's', Properties: { ForwardTo: 'q' }, Rules: [rule('a ='), { Name: 'x' }] },
          { Name: 'S', Rules: [rule('newid() = 1')] },
        ],
      },
    );

    for (const fault of [
      ...['topic t: unknown property LockDuration', 'T: the name is used twice'],
      ...['subscription s: ForwardTo', 'rule bad: SQL syntax error', 'FilterType is unknown'],
      ...['S: the subscription name is used twice', 'newid()'],
    ]) {
      expect(() => parseNamespaceConfig(faulty)).toThrow(fault);
    }
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
