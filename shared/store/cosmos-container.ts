// The two containers: what they must look like, and how they come to be.
//
// Owns:   partition keys, TTL and indexing policy (infra/azure deploys the same, a test compares).
// Leaves: items and queries to cosmos.ts.
//
//   K1. What exists is only read and checked: with data-plane RBAC creation is forbidden.
//   K2. A container that expires items by default is refused: it would delete gates [H12].
//   K3. Everything is excluded from the index but what a query of the port filters or orders by:
//       each indexed term costs 0.2 RU per write [cosmos 11], and bodies and states have many.
import { PartitionKeyDefinitionVersion, PartitionKeyKind } from '@azure/cosmos';
import type {
  Container,
  ContainerDefinition,
  ContainerRequest,
  CosmosClient,
  IndexingPolicy,
  PartitionKeyDefinition,
} from '@azure/cosmos';
import { ConvoyError } from '../errors.ts';
import { codeOf } from './cosmos-errors.ts';

const ascending = 'ascending';

/** Only these fields of gate, progress and the rest are ever asked for across partitions. */
const convoysIndex: IndexingPolicy = {
  indexingMode: 'consistent',
  automatic: true,
  includedPaths: [
    { path: '/convoyId/?' },
    { path: '/kind/?' },
    { path: '/convoy/?' },
    { path: '/phase/?' },
    { path: '/writtenAt/?' },
    { path: '/dueAt/?' },
    { path: '/hold/kind/?' },
    { path: '/asideCount/?' },
    { path: '/busy/since/?' },
  ],
  excludedPaths: [{ path: '/*' }],
  compositeIndexes: [
    // [H9] ORDER BY must name the filtered fields first, or Azure does not use the index.
    [
      { path: '/kind', order: ascending },
      { path: '/phase', order: ascending },
      { path: '/writtenAt', order: ascending },
    ],
    [
      { path: '/kind', order: ascending },
      { path: '/phase', order: ascending },
      { path: '/dueAt', order: ascending },
    ],
  ],
};

const windowsIndex: IndexingPolicy = {
  indexingMode: 'consistent',
  automatic: true,
  includedPaths: [
    { path: '/windowId/?' },
    // Only heads have these: a contribution pays for no index but that of its partition.
    { path: '/dueAt/?' },
    { path: '/series/?' },
    { path: '/start/?' },
  ],
  excludedPaths: [{ path: '/*' }],
  compositeIndexes: [
    [
      { path: '/series', order: ascending },
      { path: '/start', order: ascending },
    ],
  ],
};

function hashOf(path: string): PartitionKeyDefinition {
  return {
    paths: [path],
    kind: PartitionKeyKind.Hash,
    version: PartitionKeyDefinitionVersion.V2,
  };
}

/** Everything of one key in one logical partition; items expire only by their own ttl [H12]. */
export const convoysContainer = {
  partitionKey: hashOf('/convoyId'),
  defaultTtl: -1,
  indexingPolicy: convoysIndex,
} as const satisfies ContainerRequest;

/** Contributions and head of one window across keys [H13]. */
export const windowsContainer = {
  partitionKey: hashOf('/windowId'),
  defaultTtl: -1,
  indexingPolicy: windowsIndex,
} as const satisfies ContainerRequest;

/** Where a container is to be and what it has to look like. */
export interface ContainerPlan {
  databaseId: string;
  containerId: string;
  definition: { partitionKey: PartitionKeyDefinition; defaultTtl: number };
}

/** Reads, or creates where missing; throws ConvoyError CVY_SETTINGS when neither is possible. */
export async function openContainer(client: CosmosClient, plan: ContainerPlan): Promise<Container> {
  const container = client.database(plan.databaseId).container(plan.containerId);
  const found = await definitionOf(container, plan);
  if (found) {
    assertDefinition(found, plan);
    return container;
  }
  await createUnlessThere(plan, () => client.databases.create({ id: plan.databaseId }));
  await createUnlessThere(plan, () =>
    client
      .database(plan.databaseId)
      .containers.create({ id: plan.containerId, ...plan.definition }),
  );
  return container;
}

async function definitionOf(
  container: Container,
  plan: ContainerPlan,
): Promise<ContainerDefinition | undefined> {
  try {
    return (await container.read()).resource;
  } catch (error) {
    if (codeOf(error) === 404) return undefined;
    if (codeOf(error) !== 403) throw error;
    throw new ConvoyError(
      'CVY_SETTINGS',
      `the identity may not read ${nameOf(plan)}: grant it the role ` +
        `"Cosmos DB Built-in Data Contributor" and let its network in`,
      { cause: error },
    );
  }
}

async function createUnlessThere(plan: ContainerPlan, create: () => Promise<unknown>) {
  try {
    await create();
  } catch (error) {
    // Another process was first, or the database was there before.
    if (codeOf(error) === 409) return;
    if (codeOf(error) !== 403) throw error;
    const { paths } = plan.definition.partitionKey;
    throw new ConvoyError(
      'CVY_SETTINGS',
      `${nameOf(plan)} does not exist and the identity may not create it: deploy it ` +
        `(infra/azure) with partition key ${paths.join()}, version 2, default TTL -1`,
      { cause: error },
    );
  }
}

/** [K2] What would break the protocol is refused; a wider index costs only money. */
function assertDefinition(found: ContainerDefinition, plan: ContainerPlan): void {
  const paths = found.partitionKey?.paths ?? [];
  const wanted = plan.definition.partitionKey.paths;
  if (paths.length !== wanted.length || paths.some((path, index) => path !== wanted[index])) {
    throw new ConvoyError(
      'CVY_SETTINGS',
      `${nameOf(plan)} has partition key ${paths.join() || 'none'}, not ${wanted.join()}`,
    );
  }
  if (found.defaultTtl !== plan.definition.defaultTtl) {
    throw new ConvoyError(
      'CVY_SETTINGS',
      `${nameOf(plan)} has default TTL ${found.defaultTtl ?? 'off'}, not -1`,
    );
  }
}

function nameOf({ databaseId, containerId }: ContainerPlan): string {
  return `container ${containerId} of database ${databaseId}`;
}
