// The explicit list of convoys: nothing is found by scanning. Add yours here.
import type { ConvoyDefinition } from '../../shared/convoy/definition.ts';
import { incidents } from './incidents.ts';
import { ledger } from './ledger.ts';
import { orders } from './orders.ts';

export const convoys: readonly ConvoyDefinition[] = [orders, ledger, incidents];
