// GPS fixes of a device: hourly windows of its speed, and how far it has climbed. `visible` and
// `outlier` are the source's own marks and are not used: every fix counts.
import { z } from 'zod';
import { type ConvoyOptions, defineConvoy } from '../../shared/convoy/definition.ts';

interface Track {
  fixes: number;
  /** Height of the last fix in centimetres; null before the first. */
  heightCm: number | null;
  /** Sum of the height steps between neighbouring fixes, up or down. */
  climbCm: number;
}

const initialState: Track = { fixes: 0, heightCm: null, climbCm: 0 };

const schema = z.looseObject({
  speed: z.coerce.number().int(),
  height_cm: z.coerce.number().int(),
});

export const telemetryOptions: ConvoyOptions<typeof schema, Track> = {
  name: 'telemetry',
  schema,
  initialState,
  apply(track, message, context) {
    const heightCm = message.body.height_cm;
    const stepCm = track.heightCm === null ? 0 : Math.abs(heightCm - track.heightCm);
    const climbCm = track.climbCm + stepCm;
    context.emit('telemetry.tracked', { id: message.id, climbCm });
    return { fixes: track.fixes + 1, heightCm, climbCm };
  },
  windows: [
    {
      name: 'hour',
      kind: 'tumbling',
      seconds: 3_600,
      quietSeconds: 60,
      late: 'amend',
      value: (message) => message.body.speed,
    },
  ],
};

export const telemetry = defineConvoy(telemetryOptions);
