// An effect is at least once, but not for nothing: two hosts that remember what they wrote, and no
// fault anywhere.
import { expect, test } from 'vitest';
import { z } from 'zod';
import { virtualClock } from '../../shared/clock.ts';
import { defineConvoy } from '../../shared/convoy/definition.ts';
import { defaultLimits } from '../../shared/convoy/outputs.ts';
import { admitMessage } from '../../shared/engine/admit.ts';
import { drain } from '../../shared/engine/drain.ts';
import { type Engine, defaultSettings } from '../../shared/engine/ports.ts';
import { createLog } from '../../shared/log.ts';
import { createMemoryStore } from '../../shared/store/memory.ts';
import { rememberingStore } from '../../shared/store/remembering.ts';

const place = { convoy: 'charging', key: 'k' };

function hosts() {
  const clock = virtualClock();
  const store = createMemoryStore({ clock });
  const charged: string[] = [];
  const charging = defineConvoy({
    name: 'charging',
    schema: z.object({}),
    initialState: 0,
    async effect(message) {
      charged.push(message.id);
    },
    apply: (n) => n + 1,
  });
  const host = (): Engine => ({
    store: rememberingStore(store),
    publisher: { publish: async () => undefined },
    instances: { start: async () => {}, wake: async () => 'raised' },
    clock,
    log: createLog('warn', () => undefined),
    definitions: new Map([['charging', charging]]),
    limits: defaultLimits,
    settings: defaultSettings,
    started: new Set(),
    startedAt: 0,
  });
  return { a: host(), b: host(), charged };
}

const admit = (engine: Engine, messageId: string, sequence: number) =>
  admitMessage(engine, {
    ...place,
    sequence,
    message: {
      ...{ type: 'Put', bodyText: '{}', schemaVersion: 1 },
      ...{ messageId, occurredAt: 0, enqueuedAt: 0 },
    },
  });

test('H5: what another host has committed is not charged again', async () => {
  const { a, b, charged } = hosts();
  const request = { ...place, epoch: 1, mayClose: false };

  await admit(b, 'm1', 1); // b remembers gate, progress and the message
  await drain(a, request); // a charges it
  await drain(b, request);
  await admit(b, 'm2', 2);
  await drain(b, request);

  expect(charged).toEqual(['m1', 'm2']);
});
