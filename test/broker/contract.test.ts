// The contract on the local broker: in memory, on a clock that the claims move.
import { virtualClock } from '../../shared/clock.ts';
import { startBroker } from '../../infra/local/broker/broker.ts';
import { clientClaims } from '../contract/service-bus-client.contract.ts';
import { runContract } from '../contract/service-bus.contract.ts';
import {
  plainClaims,
  settlementClaims,
  timeClaims,
} from '../contract/service-bus-settlement.contract.ts';
import type { Target } from '../contract/service-bus.contract.ts';

const base = { lockDurationSeconds: 60, maxDeliveryCount: 10, deadLetterOnExpiration: false };

async function open(): Promise<Target> {
  // From the present: the client compares lock times and token expiry with its own clock.
  const clock = virtualClock(Date.now());
  const broker = await startBroker({
    clock,
    file: ':memory:',
    port: 0,
    config: {
      queues: [
        { name: 'sessions', properties: { ...base, requiresSession: true } },
        {
          name: 'plain',
          properties: { ...base, requiresSession: false, deadLetterOnExpiration: true },
        },
        {
          name: 'dedup',
          properties: { ...base, requiresSession: true, duplicateDetectionSeconds: 600 },
        },
      ],
    },
  });
  return {
    connectionString: broker.connectionString,
    sessionQueue: 'sessions',
    plainQueue: 'plain',
    dedupQueue: 'dedup',
    lockSeconds: 60,
    pass: (ms) => clock.advance(ms),
    close: () => broker.close(),
  };
}

runContract({ open }, [settlementClaims, timeClaims, plainClaims, clientClaims]);
