// Where the Cosmos DB contract runs: on the local server, in memory and on a clock that the claims
// move; or on an account of Azure (or an emulator) that a connection string names:
//
//   COSMOS_CONNECTION_STRING=… npx vitest run --config test/vitest.config.ts \
//     --testTimeout 300000 test/cosmos/contract.test.ts
//
// Each claim has a database of its own, which is deleted behind it.
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { CosmosClient } from '@azure/cosmos';
import { startCosmos } from '../../infra/local/cosmos/server.ts';
import { virtualClock } from '../../shared/clock.ts';
import type { Skip } from './claims.ts';
import type { Target } from './cosmos.contract.ts';

async function openLocal(): Promise<Target> {
  const clock = virtualClock();
  const server = await startCosmos({ file: ':memory:', port: 0, clock });
  return {
    connectionString: server.connectionString,
    databaseId: 'claims',
    pass: (ms) => clock.advance(ms),
    nowMs: () => clock.now(),
    close: () => server.close(),
  };
}

/** Time really passes here. */
async function openRemote(connectionString: string): Promise<Target> {
  const databaseId = `claims-${randomBytes(6).toString('hex')}`;
  return {
    connectionString,
    databaseId,
    pass: (ms) => sleep(ms),
    nowMs: () => Date.now(),
    async close() {
      const client = new CosmosClient(connectionString);
      await client.database(databaseId).delete();
      client.dispose();
    },
  };
}

const remote = process.env['COSMOS_CONNECTION_STRING'];

export const open = (): Promise<Target> => (remote ? openRemote(remote) : openLocal());

const kindOrder = 'an order over all partitions of one range pages with a token';

export const skip: Skip[] = remote
  ? [{ reason: 'the client merges every order over all partitions in Azure', tests: [kindOrder] }]
  : [];
