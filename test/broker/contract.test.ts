// The contract of the Service Bus, on the local broker or on a namespace (service-bus-targets.ts).
import { adminClaims } from '../contract/service-bus-admin.contract.ts';
import { clientClaims } from '../contract/service-bus-client.contract.ts';
import { managementClaims } from '../contract/service-bus-management.contract.ts';
import { ruleClaims } from '../contract/service-bus-rules.contract.ts';
import { runContract } from '../contract/service-bus.contract.ts';
import {
  plainClaims,
  settlementClaims,
  timeClaims,
} from '../contract/service-bus-settlement.contract.ts';
import { open, skip } from '../contract/service-bus-targets.ts';
import { topicClaims } from '../contract/service-bus-topics.contract.ts';

runContract({ open, skip }, [
  ...[settlementClaims, timeClaims, plainClaims, clientClaims],
  ...[topicClaims, ruleClaims, managementClaims, adminClaims],
]);
