// The customer ledger again, in the order of the sender: for deliveries that come late, repeated
// and out of order. A message whose forerunners do not come within five minutes stops its key.
import { defineConvoy } from '../../shared/convoy/definition.ts';
import { ledgerOptions } from './ledger.ts';

export const ledgerBySeq = defineConvoy({
  ...ledgerOptions,
  name: 'ledger-by-seq',
  order: 'sender',
  gap: { waitSeconds: 300 },
});
