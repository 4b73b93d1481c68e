// The GPS fixes again, in the order of the sender: for deliveries that come late, repeated
// and out of order. A message whose forerunners do not come within five minutes stops its key.
import { defineConvoy } from '../../shared/convoy/definition.ts';
import { telemetryOptions } from './telemetry.ts';

export const telemetryBySeq = defineConvoy({
  ...telemetryOptions,
  name: 'telemetry-by-seq',
  order: 'sender',
  gap: { waitSeconds: 300 },
});
