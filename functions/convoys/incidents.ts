// IT incidents: applies every event, refuses none; one window a day of the minutes since the
// incident's previous event. `late: 'amend'`, so that the same stream gives the same figures
// however slowly it is fed.
import { z } from 'zod';
import { type ConvoyOptions, defineConvoy } from '../../shared/convoy/definition.ts';

interface Incident {
  /** Type of the last event: New, Active, Awaiting User Info, Resolved, Closed … */
  status: string;
  events: number;
  lastAt: number | null;
}

const initialState: Incident = { status: '', events: 0, lastAt: null };
const minuteMs = 60_000;

const schema = z.looseObject({});

export const incidentsOptions: ConvoyOptions<typeof schema, Incident> = {
  name: 'incidents',
  schema,
  initialState,
  apply(incident, message, context) {
    context.emit('incident.updated', { id: message.id, status: message.type });
    return {
      status: message.type,
      events: incident.events + 1,
      lastAt: message.occurredAt,
    };
  },
  windows: [
    {
      name: 'day',
      kind: 'tumbling',
      seconds: 86_400,
      quietSeconds: 60,
      late: 'amend',
      value: (message, before) =>
        before.lastAt === null ? 0 : (message.occurredAt - before.lastAt) / minuteMs,
    },
  ],
};

export const incidents = defineConvoy(incidentsOptions);
