// A convoy for the soak: keys that live on, windows that close and hear of late values, and a cause
// of poison that goes away by itself, so that an operator's retry heals a blocked key.
import { z } from 'zod';
import { defineConvoy } from '../../shared/convoy/definition.ts';

const schema = z.looseObject({
  value: z.number().int(),
  /** The message breaks every handler until this instant. */
  brokenUntil: z.number().optional(),
});

interface Meter {
  readings: number;
  total: number;
}

const initialState: Meter = { readings: 0, total: 0 };

export const meter = defineConvoy<typeof schema, Meter>({
  name: 'meter',
  schema,
  initialState,
  apply(state, message, context) {
    const { value, brokenUntil = 0 } = message.body;
    if (Date.now() < brokenUntil) throw new RangeError(`${message.id} is not readable yet`);
    context.emit('meter.read', { id: message.id });
    return { readings: state.readings + 1, total: state.total + value };
  },
  retry: { attempts: 2, firstDelaySeconds: 0.1 },
  onPoison: 'block',
  windows: [
    {
      name: 'ten-seconds',
      kind: 'tumbling',
      seconds: 10,
      graceSeconds: 2,
      quietSeconds: 5,
      late: 'amend',
      value: (message) => message.body.value,
    },
  ],
  lingerSeconds: 1,
  retentionSeconds: 300,
});
