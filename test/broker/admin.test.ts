// The management port below the client: what is malformed, unknown or not supported is refused by
// name, and nothing of it ends the broker.
import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startBroker } from '../../infra/local/broker/broker.ts';
import type { Broker } from '../../infra/local/broker/broker.ts';
import { Refusal } from '../../infra/local/broker/conditions.ts';
import { escapeXml, parseXml } from '../../infra/local/broker/xml.ts';
import { adminOf } from '../contract/service-bus-admin-client.ts';

let broker: Broker;
beforeAll(async () => {
  broker = await startBroker({ config: { queues: [] }, file: ':memory:', port: 0 });
});
afterAll(() => broker.close());

function token(key = 'SAS_KEY_VALUE'): string {
  const expiry = Math.floor(Date.now() / 1000) + 600;
  const signature = createHmac('sha256', key).update(`here\n${expiry}`).digest('base64');
  return `SharedAccessSignature sr=here&sig=${encodeURIComponent(signature)}&se=${expiry}&skn=r`;
}

interface Asked {
  method?: string;
  body?: string;
  headers?: Record<string, string>;
}

async function ask(path: string, { method = 'GET', body, headers }: Asked = {}) {
  const response = await fetch(`http://localhost:${broker.managementPort}/${path}`, {
    method,
    headers: { authorization: token(), ...headers },
    ...(body === undefined ? {} : { body }),
  });
  return { status: response.status, text: await response.text() };
}

const queueWith = (content: string): string =>
  '<entry xmlns="http://www.w3.org/2005/Atom"><content type="application/xml">' +
  `<QueueDescription>${content}</QueueDescription></content></entry>`;
const put = (path: string, content: string) =>
  ask(path, { method: 'PUT', body: queueWith(content) });

describe('refused by name', () => {
  test.each([
    ['<ForwardTo>sb://x/other</ForwardTo>', 501, 'auto-forwarding (&apos;ForwardTo'],
    ['<ForwardDeadLetteredMessagesTo>q</ForwardDeadLetteredMessagesTo>', 501, 'auto-forwarding'],
    ['<Colour>red</Colour>', 400, 'Colour'],
    ['<LockDuration>soon</LockDuration>', 400, 'LockDuration'],
    ['<MaxDeliveryCount>2.5</MaxDeliveryCount>', 400, 'MaxDeliveryCount'],
    ['<RequiresSession>yes</RequiresSession>', 400, 'RequiresSession'],
    ['<Status>Sleeping</Status>', 400, 'Status'],
    ['<MaxMessageSizeInKilobytes>1024</MaxMessageSizeInKilobytes>', 400, 'MaxMessageSize'],
    ['<SupportOrdering>true</SupportOrdering>', 400, 'SupportOrdering'],
    [`<UserMetadata>${'x'.repeat(1_025)}</UserMetadata>`, 400, 'UserMetadata'],
  ])('%s', async (content, status, named) => {
    const answer = await put('refused', content);

    expect(answer.status).toBe(status);
    expect(answer.text).toContain(named.replace('&apos;', "'"));
    expect((await ask('refused')).status).toBe(404);
  });

  test.each([
    ['$Resources/relays', 'GET', 501],
    ['$Resources/queues', 'DELETE', 501],
    ['some/$DeadLetterQueue', 'GET', 501],
    ['missing', 'PATCH', 501],
    ['missing/Subscriptions/s', 'GET', 404],
    ['$Resources/queues?$top=many', 'GET', 400],
    ['%E0%A4%A', 'GET', 400],
  ])('%s %s', async (path, method, status) => {
    expect((await ask(path, { method })).status).toBe(status);
  });

  test.each([
    ['', 400],
    ['<entry/>', 400],
    ['<entry><content></entry>', 400],
    ['<!DOCTYPE e [<!ENTITY a "aaaa">]><entry>&a;</entry>', 400],
    [queueWith('<UserMetadata>&unknown;</UserMetadata>'), 400],
    [queueWith('<UserMetadata><![CDATA[x]]></UserMetadata>'), 400],
    [`${'<a>'.repeat(50)}${'</a>'.repeat(50)}`, 400],
    ['x'.repeat(300_000), 400],
  ])('a body that is no description (%#)', async (body, status) => {
    expect((await ask('bad', { method: 'PUT', body })).status).toBe(status);
  });

  test('names that the service does not allow', async () => {
    for (const name of ['-a', 'a-', 'a b', `a${'b'.repeat(260)}`, 'a%23b']) {
      const { status, text } = await put(name, '');
      expect([status, text.includes('invalid')]).toEqual([400, true]);
    }
  });

  test('other keys and other tokens', async () => {
    const bearer = await ask('q', { headers: { authorization: 'Bearer a.b.c' } });
    const wrong = await ask('q', { headers: { authorization: token('other') } });

    expect([bearer.status, wrong.status]).toEqual([401, 401]);
    expect(bearer.text).toContain('SharedAccessSignature');
  });
});

test('what clients may see of a description comes back as it was', async () => {
  const admin = adminOf(broker.managementConnectionString);
  const rule = {
    claimType: 'SharedAccessKey',
    keyName: 'all',
    primaryKey: 'first',
    secondaryKey: 'second',
  };
  const authorizationRules = [
    { ...rule, accessRights: ['Manage' as const, 'Send' as const, 'Listen' as const] },
    { ...rule, keyName: 'one', accessRights: ['Send' as const] },
  ];

  const created = await admin.createQueue('kept', { authorizationRules, enablePartitioning: true });

  expect(await admin.getQueue('kept')).toEqual(created);
  expect(created).toMatchObject({ authorizationRules, maxSizeInMegabytes: 16_384 });
});

describe('the XML reader', () => {
  test('reads elements, attributes, entities and comments', () => {
    const root = parseXml(
      '<?xml version="1.0"?><a:x xmlns:a="u"><!-- <no/> -->' +
        '<y b:k="1 &amp; 2">t&#65;&#x42;</y></a:x>',
    );

    expect(root.name).toBe('x');
    expect(root.children[0]).toMatchObject({ name: 'y', text: 'tAB' });
    expect(root.children[0]?.attributes.get('k')).toBe('1 & 2');
  });

  test('reads back whatever text was escaped', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        expect(parseXml(`<a k="${escapeXml(text)}">${escapeXml(text)}</a>`)).toMatchObject({
          text,
          attributes: new Map([['k', text]]),
        });
      }),
    );
  });

  test('ends on any text, with a tree or a refusal', () => {
    const parts = fc.constantFrom(
      ...[
        '<a>',
        '</a>',
        '<b/>',
        '<',
        '>',
        '&',
        '&amp;',
        '&#x',
        '<!--',
        '-->',
        '<?xml',
        '?>',
        'k="',
      ],
      ...['"', "'", ' ', 'text', '<![CDATA[', '<a k="v">'],
    );
    fc.assert(
      fc.property(fc.array(parts, { maxLength: 30 }), (all) => {
        try {
          parseXml(all.join(''));
        } catch (error) {
          expect(error).toBeInstanceOf(Refusal);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
