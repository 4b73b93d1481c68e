// Claims about the rules of subscriptions.
import type { SqlRuleAction, SqlRuleFilter, CorrelationRuleFilter } from '@azure/service-bus';
import { expect } from 'vitest';
import { bodies, codeOf } from './service-bus.contract.ts';
import type { Claim, World } from './service-bus.contract.ts';
import { topicWith } from './service-bus-topics.contract.ts';

const sent = [
  {
    body: 1,
    subject: 'order',
    correlationId: 'high',
    applicationProperties: { color: 'red', n: 5 },
  },
  { body: 2, subject: 'order', applicationProperties: { color: 'blue', n: 7, ratio: 0.5 } },
  { body: 3, subject: 'refund', applicationProperties: { color: 'red', isNew: true } },
  { body: 4 },
];

interface RuleOptions {
  filter: SqlRuleFilter | CorrelationRuleFilter;
  action?: SqlRuleAction;
}

/** What a subscription with these rules receives of the four messages. */
async function selected(world: World, rules: Record<string, RuleOptions>, more = {}) {
  const topic = await topicWith(world, {});
  const [[firstName, first] = ['', undefined], ...others] = Object.entries(rules);
  await world.admin.createSubscription(topic, 's', {
    ...more,
    ...(first ? { defaultRuleOptions: { name: firstName, ...first } } : {}),
  });
  for (const [name, { filter, action }] of others) {
    if (action) await world.admin.createRule(topic, 's', name, filter, action);
    else await world.admin.createRule(topic, 's', name, filter);
  }
  await world.client.createSender(topic).sendMessages(sent);
  return world.client.createReceiver(topic, 's').peekMessages(9);
}

/** The client's name for it has a word that is not ours. */
const rulesOf = ({ client }: World, topic: string) => client['createRuleManager'](topic, 's');

export function ruleClaims(claim: Claim): void {
  const filters: [string, SqlRuleFilter | CorrelationRuleFilter, number[]][] = [
    ['compares properties', { sqlExpression: "color = 'red' AND n > 4.5" }, [1]],
    ['knows system properties', { sqlExpression: "sys.Label LIKE 'ord%'" }, [1, 2]],
    ['knows what is missing', { sqlExpression: 'color IS NULL OR EXISTS(isNew)' }, [3, 4]],
    ['has three values', { sqlExpression: "NOT (color = 'red')" }, [2]],
    ['calculates', { sqlExpression: 'n % 2 = 1 AND n - 2 IN (5, 6)' }, [2]],
    ['takes parameters', { sqlExpression: 'color = @c', sqlParameters: { '@c': 'blue' } }, [2]],
    ['may select nothing', { sqlExpression: '1=0' }, []],
    ['correlates a system property', { correlationId: 'high' }, [1]],
    [
      'correlates several properties',
      { subject: 'order', applicationProperties: { color: 'blue', n: 7, ratio: 0.5 } },
      [2],
    ],
    ['compares with case', { applicationProperties: { color: 'RED' } }, []],
    ['correlates a flag', { applicationProperties: { isNew: true } }, [3]],
  ];
  for (const [what, filter, expected] of filters) {
    claim(`a filter ${what}`, async (world) => {
      const messages = await selected(world, { rule: { filter } });

      expect(bodies(messages)).toEqual(expected);
    });
  }

  claim('rules without action make one copy, each action one more', async (world) => {
    const messages = await selected(world, {
      red: { filter: { sqlExpression: "color = 'red'" } },
      order: { filter: { subject: 'order' } },
      double: {
        filter: { sqlExpression: 'n > 5' },
        action: { sqlExpression: "SET n = n * 2; SET sys.Label = 'big'; REMOVE color" },
      },
    });

    const shown = messages.map((m) => [m.body, m.subject, m.applicationProperties]);
    expect(shown.toSorted(([a], [b]) => Number(a) - Number(b))).toEqual([
      [1, 'order', { color: 'red', n: 5 }],
      [2, 'order', { color: 'blue', n: 7, ratio: 0.5 }],
      [2, 'big', { n: 14, ratio: 0.5, RuleName: 'double' }],
      [3, 'refund', { color: 'red', isNew: true }],
    ]);
  });

  claim('a rule manager adds, lists and removes rules', async (world) => {
    const topic = await topicWith(world, { s: {} });
    const rules = rulesOf(world, topic);
    const properties = { text: 'a', n: 2, flag: true, day: new Date(0) };
    await rules.createRule('sql', { sqlExpression: 'price > 10' }, { sqlExpression: 'SET a = 1' });
    await rules.createRule('same', { subject: 'x', applicationProperties: properties });
    await rules.deleteRule('$Default');

    const listed = [];
    for await (const rule of rules.listRules()) listed.push(rule);

    expect(listed).toMatchObject([
      { name: 'same', filter: { subject: 'x', applicationProperties: properties }, action: {} },
      {
        name: 'sql',
        filter: { sqlExpression: 'price > 10' },
        action: { sqlExpression: 'SET a = 1' },
      },
    ]);
    expect(await codeOf(rules.deleteRule('gone'))).toBe('MessagingEntityNotFound');
    expect(await codeOf(rules.createRule('sql', { subject: 'y' }))).toBe(
      'MessagingEntityAlreadyExists',
    );
  });

  claim('a changed rule counts from then on', async (world) => {
    const { admin, client } = world;
    const topic = await topicWith(world, { s: {} });
    await client.createSender(topic).sendMessages({ body: 1 });
    const rule = await admin.getRule(topic, 's', '$Default');
    await admin.updateRule(topic, 's', { ...rule, filter: { subject: 'order' } });
    await client.createSender(topic).sendMessages(sent);

    const messages = await client.createReceiver(topic, 's').peekMessages(9);

    expect(bodies(messages)).toEqual([1, 1, 2]);
    expect((await admin.getRule(topic, 's', '$Default')).filter).toMatchObject({
      subject: 'order',
    });
  });

  claim('an invalid rule is refused when it is made', async (world) => {
    const topic = await topicWith(world, { s: {} });
    const rules = rulesOf(world, topic);
    const bad = { sqlExpression: 'color = ' };

    const codes = [
      await codeOf(world.admin.createRule(topic, 's', 'bad', bad)),
      await codeOf(
        world.admin.createRule(topic, 's', 'bad', { subject: 'x' }, { sqlExpression: 'SET' }),
      ),
      await codeOf(rules.createRule('bad', bad)),
    ];

    expect(codes).toEqual(['ServiceError', 'ServiceError', 'GeneralError']);
    expect(await world.admin.ruleExists(topic, 's', 'bad')).toBe(false);
  });
}
