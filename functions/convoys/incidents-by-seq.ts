// The incident log again, in the order of the sender: for deliveries that come late, repeated
// and out of order. A message whose forerunners do not come within five minutes stops its key.
import { defineConvoy } from '../../shared/convoy/definition.ts';
import { incidentsOptions } from './incidents.ts';

export const incidentsBySeq = defineConvoy({
  ...incidentsOptions,
  name: 'incidents-by-seq',
  order: 'sender',
  gap: { waitSeconds: 300 },
});
