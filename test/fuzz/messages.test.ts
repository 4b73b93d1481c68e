// Messages as only a foreign AMQP client sends them, through the real broker, host and app: each
// ends under its key, in quarantine or in the dead-letter record; what follows it under its key and
// what stands beside it goes on. The board then shows such things as text, in a browser.
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { packageRoot } from '../../infra/local/address.ts';
import { type LocalStack, startLocalStack } from '../../infra/local/stack.ts';
import { keyFault, toPathKey } from '../../shared/keys.ts';
import { type ClientLink, connect } from '../broker/rhea-client.ts';
import { serve } from '../operator/serve.ts';
import { createWorld, tell } from '../operator/world.ts';
import { Api, Queues, until } from '../support/doors.ts';
import { isUnpolluted, nastyBodies, nastyTexts } from './hostile.ts';

type Wrap = (value: unknown, ...more: unknown[]) => unknown;
const rhea = createRequire(import.meta.url)('rhea') as {
  types: Record<string, Wrap>;
  message: { data_section(bytes: Buffer): unknown; sequence_section(values: unknown[]): unknown };
};
const wrap = (kind: string, ...values: [unknown, ...unknown[]]): unknown =>
  rhea.types[`wrap_${kind}`]?.(...values);
const json = (value: unknown): unknown => data(Buffer.from(JSON.stringify(value)));
const data = (bytes: Buffer): unknown => rhea.message.data_section(bytes);

/** Every type of AMQP, with values at its edges [AMQP 1.6]. */
const values: [string, () => unknown][] = [
  ['null', () => null],
  ['boolean', () => true],
  ['ubyte', () => wrap('ubyte', 255)],
  ['ulong beyond 2^53', () => wrap('ulong', Buffer.alloc(8, 0xff))],
  ['long beyond -2^53', () => wrap('long', Buffer.from('8000000000000001', 'hex'))],
  ['float NaN', () => wrap('float', NaN)],
  ['double Infinity', () => wrap('double', Infinity)],
  ['double -0', () => wrap('double', -0)],
  ['timestamp beyond all dates', () => wrap('timestamp', 8.64e15 + 1)],
  ['timestamp', () => wrap('timestamp', 0)],
  ['char', () => wrap('char', 0x1f44d)],
  ['uuid', () => wrap('uuid', Buffer.alloc(16, 7))],
  ['binary', () => wrap('binary', Buffer.from([0xff, 0x00, 0xc3]))],
  ['symbol', () => wrap('symbol', 'sym')],
  ['empty', () => ''],
  ['NUL', () => 'a\0b'],
  ['64 KB less a little', () => 'x'.repeat(60_000)],
  ['map', () => wrap('map', { toString: 1, __proto: 2 })],
  ['list', () => wrap('list', [1, [2, [3]]])],
  ['described', () => wrap('described', 'x', 'com.example:thing')],
];
const names = [
  ...['convoyKey', 'convoyMessageId', 'convoyType', 'schemaVersion', 'senderPosition'],
  ...['occurredAt', 'traceparent', 'Diagnostic-Id', '__proto__', 'constructor', 'toString'],
];

/** A whole number is a version to come: its key waits for the deployment (CVY_VERSION). */
const isNewVersion = new Set(['ubyte', 'char']);

interface Hostile {
  name: string;
  /** What stands in the place of the good message's own. */
  spoilt: Record<string, unknown>;
  properties?: Record<string, unknown>;
}

function propertyOf(name: string, value: unknown): Record<string, unknown> {
  return Object.defineProperty({}, name, { value, enumerable: true });
}

const hostile: Hostile[] = [
  ...names.flatMap((name) =>
    values
      .filter(([kind]) => name !== 'schemaVersion' || !isNewVersion.has(kind))
      .map(([kind, make]) => ({
        name: `${name} = ${kind}`,
        spoilt: {},
        properties: propertyOf(name, make()),
      })),
  ),
  ...nastyTexts.flatMap((text) => [
    { name: `subject ${text}`, spoilt: { subject: text, content_type: text, to: text } },
    {
      name: `type ${text}`,
      spoilt: { message_id: text.slice(0, 128) },
      properties: { convoyType: text },
    },
  ]),
  ...nastyBodies.map(([name, bytes]) => ({ name: `body: ${name}`, spoilt: { body: data(bytes) } })),
  ...values.slice(1).map(([kind, make]) => ({
    name: `message id of type ${kind}`,
    spoilt: { message_id: make() },
  })),
  {
    name: '2,000 properties',
    spoilt: {},
    properties: Object.fromEntries(Array.from({ length: 2_000 }, (_, at) => [`p${at}`, at])),
  },
  ...Array.from({ length: 4 }, (_, at) => ({
    name: `an instant out of range ${at}`,
    spoilt: {},
    properties: {
      occurredAt: ['0000-01-01T00:00Z', '9999-12-31T23:59:59-23:59', '-1', '2026-13-01T00:00Z'][at],
    },
  })),
];

let stack: LocalStack;
let api: Api;
let queues: Queues;
let link: ClientLink;

beforeAll(async () => {
  stack = await startLocalStack({ appDir: packageRoot(), memory: true, logLevel: 'error' });
  api = new Api(stack.url);
  queues = new Queues(stack.serviceBus);
  const connection = await connect(stack.broker.port);
  link = connection.open_sender({ target: { address: 'orders' } });
  await once(link, 'sendable');
});

afterAll(async () => {
  await queues?.[Symbol.asyncDispose]();
  await stack?.[Symbol.asyncDispose]();
});

interface Wire {
  message_id: unknown;
  group_id: string;
  [field: string]: unknown;
}

function good(key: string, id: string, type: string): Wire {
  return {
    message_id: `${key}-${id}`,
    group_id: key,
    subject: type,
    body: json({ amount: 1 }),
    application_properties: { convoyKey: key, convoyMessageId: id, convoyType: type },
  };
}

function bad(key: string, at: number, { spoilt, properties = {} }: Hostile): Wire {
  const whole = { convoyKey: key };
  const descriptors = Object.getOwnPropertyDescriptors(properties);
  const application_properties = Object.defineProperties(whole, descriptors);
  return { ...good(key, `bad-${at}`, 'Odd'), application_properties, ...spoilt };
}

/** What the broker said to each, in the order of sending, or that the client cannot write it. */
async function sendAll(messages: readonly Wire[]): Promise<string[]> {
  const said: string[] = [];
  const ids: unknown[] = [];
  let answered = 0;
  for (const name of ['accepted', 'rejected', 'released', 'modified']) {
    link.on(name, ({ delivery }: { delivery: { id: unknown } }) => {
      said[ids.indexOf(delivery.id)] = name;
      answered++;
    });
  }
  let unsent = 0;
  for (const [at, message] of messages.entries()) {
    try {
      ids[at] = (link.send(message) as { id: unknown }).id;
    } catch {
      said[at] = 'unsendable';
      unsent++;
    }
  }
  await until(
    () => answered,
    (count) => count >= messages.length - unsent,
  );
  return said;
}

const perKey = 16;

describe('messages of a foreign client', () => {
  test('each is recorded once, and what follows under its key goes on', async () => {
    const groups = Array.from({ length: Math.ceil(hostile.length / perKey) }, (_, at) =>
      hostile.slice(at * perKey, (at + 1) * perKey),
    );
    const keyOf = (at: number): string => `foreign-${at}`;
    const messages = groups.map((group, at) => [
      good(keyOf(at), 'm1', 'OrderPlaced'),
      ...group.map((one, n) => bad(keyOf(at), n, one)),
      good(keyOf(at), 'm2', 'OrderPaid'),
    ]);

    const said = await sendAll(messages.flat());

    const answers = messages.map((group) => said.splice(0, group.length));
    // What the broker and the client refuse by type is no more than what AMQP forbids.
    const refused = answers.flatMap((group, at) =>
      group.flatMap((one, n) => (one === 'accepted' ? [] : [groups[at]?.[n - 1]?.name])),
    );
    expect(refused.filter((name) => !name?.startsWith('message id of type '))).toEqual([]);
    await until(() => queues.isEmpty('orders'), Boolean, 500);
    const aside = await api.list<{ sessionId: string }>('/quarantine/orders');
    const lost: string[] = [];
    for (const [at, group] of groups.entries()) {
      const key = keyOf(at);
      const accepted = answers[at]?.filter((one) => one === 'accepted').length;
      const { hold } = await until(
        () => api.show('orders', key),
        ({ phase }) => phase !== 'active',
      );
      const seen = await api.messages('orders', key);
      const dead = await api.list(`/convoys/orders/${key}/messages?outcome=deadLettered`);
      const set = aside.filter(({ sessionId }) => sessionId === key);
      const found = seen.length + dead.length + set.length;
      const own = seen.filter(({ messageId }) => messageId === 'm1' || messageId === 'm2');
      const states = [...own.map(({ messageId: id, outcome }) => `${id} ${outcome}`), hold.code]
        .filter(Boolean)
        .join();
      if (found === accepted && states === 'm1 applied,m2 applied') continue;
      lost.push(`${group.map(({ name }) => name).join(' | ')}: ${accepted} ${found} ${states}`);
    }
    expect(lost).toEqual([]);
    expect(isUnpolluted()).toBe(true);
  });
});

const executablePath = [process.env['CHROMIUM'] ?? '', '/usr/bin/chromium'].find((path) =>
  existsSync(path),
);
const title = executablePath ? 'the board in a browser' : 'the board (skipped: no chromium)';

describe.skipIf(!executablePath)(title, () => {
  test('shows hostile keys, reasons, bodies and states as the text they are', async () => {
    const keys = nastyTexts.filter((text) => keyFault(text) === undefined);
    const world = createWorld();
    const markup = nastyTexts.join(' ');
    const hold = {
      kind: 'blocked' as const,
      code: '<img src=x onerror="window.pwned=2">',
      reason: markup,
      position: 1,
      attempts: 1,
      since: 0,
    };
    for (const key of keys) {
      await tell(world, key, {
        outcomes: ['applied', 'waiting'],
        gate: { phase: 'held', hold, cursor: 1 },
        progress: { hold, state: JSON.parse(JSON.stringify({ [markup]: markup })) },
      });
    }
    await using site = await serve(world);
    await using browser = await chromium.launch({
      args: ['--no-sandbox'],
      ...(executablePath && { executablePath }),
    });
    const page = await browser.newPage();
    const faults: string[] = [];
    page.on('pageerror', (error) => faults.push(error.message));
    page.on('console', (line) => line.type() === 'error' && faults.push(line.text()));
    page.on('dialog', (dialog) => void faults.push(dialog.message()));

    await page.goto(site.url);
    await page
      .locator('#list tbody tr')
      .nth(keys.length - 1)
      .waitFor();
    const shown = await page.locator('#list tbody tr td:first-child a').allTextContents();
    const links = await page
      .locator('#list tbody a')
      .evaluateAll((all) => all.map((one) => one.getAttribute('href') ?? ''));
    for (const key of ['<script>window.pwned=1</script>', '../../etc/passwd', '__proto__']) {
      await page.goto(`${site.url}#/orders/${toPathKey(key)}`);
      await page.locator('#facts h2').first().getByText(key, { exact: true }).waitFor();
      await page.getByText('Remedy:').or(page.locator('#facts pre')).first().waitFor();
    }

    expect(shown.toSorted()).toEqual(keys.toSorted());
    expect(links.filter((href) => !/^#\/orders\/[A-Za-z0-9_~-]+$/.test(href))).toEqual([]);
    expect(await page.evaluate('window.pwned')).toBeUndefined();
    expect(await page.locator('main img, main script').count()).toBe(0);
    expect(faults).toEqual([]);
  });
});
