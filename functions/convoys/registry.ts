// The explicit list of convoys: nothing is found by scanning. Add yours here.
import type { ConvoyDefinition } from '../../shared/convoy/definition.ts';
import { incidentsBySeq } from './incidents-by-seq.ts';
import { incidents } from './incidents.ts';
import { ledgerBySeq } from './ledger-by-seq.ts';
import { ledger } from './ledger.ts';
import { orders } from './orders.ts';
import { telemetryBySeq } from './telemetry-by-seq.ts';
import { telemetry } from './telemetry.ts';

export const convoys: readonly ConvoyDefinition[] = [
  orders,
  ledger,
  incidents,
  telemetry,
  ledgerBySeq,
  incidentsBySeq,
  telemetryBySeq,
];
