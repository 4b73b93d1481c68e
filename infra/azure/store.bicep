// Cosmos DB: one account with one write region (H14), identity only, the two containers of
// shared/store/cosmos-container.ts. The indexing policies are JSON files that a test compares with it.
param name string
param location string
param tags object
param principalId string

@description('Ceiling of the shared autoscale throughput; it scales down to a tenth.')
@minValue(1000)
param throughputMax int = 4000

// Cosmos DB Built-in Data Contributor: items, not containers. So the containers are made here.
var dataContributor = '00000000-0000-0000-0000-000000000002'

resource account 'Microsoft.DocumentDB/databaseAccounts@2024-11-15' = {
  name: name
  location: location
  tags: tags
  kind: 'GlobalDocumentDB'
  properties: {
    databaseAccountOfferType: 'Standard'
    disableLocalAuth: true
    disableKeyBasedMetadataWriteAccess: true
    minimalTlsVersion: 'Tls12'
    enableMultipleWriteLocations: false
    consistencyPolicy: { defaultConsistencyLevel: 'Session' }
    locations: [{ locationName: location, failoverPriority: 0, isZoneRedundant: false }]
    backupPolicy: {
      type: 'Continuous'
      continuousModeProperties: { tier: 'Continuous7Days' }
    }
  }
}

resource database 'Microsoft.DocumentDB/databaseAccounts/sqlDatabases@2024-11-15' = {
  parent: account
  name: 'convoys'
  properties: {
    resource: { id: 'convoys' }
    options: { autoscaleSettings: { maxThroughput: throughputMax } }
  }
}

resource convoys 'Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers@2024-11-15' = {
  parent: database
  name: 'convoys'
  properties: {
    resource: {
      id: 'convoys'
      partitionKey: { kind: 'Hash', version: 2, paths: ['/convoyId'] }
      defaultTtl: -1
      indexingPolicy: loadJsonContent('convoys-index.json')
    }
  }
}

resource windows 'Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers@2024-11-15' = {
  parent: database
  name: 'windows'
  properties: {
    resource: {
      id: 'windows'
      partitionKey: { kind: 'Hash', version: 2, paths: ['/windowId'] }
      defaultTtl: -1
      indexingPolicy: loadJsonContent('windows-index.json')
    }
  }
}

resource access 'Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments@2024-11-15' = {
  parent: account
  name: guid(account.id, principalId, dataContributor)
  properties: {
    principalId: principalId
    roleDefinitionId: '${account.id}/sqlRoleDefinitions/${dataContributor}'
    scope: account.id
  }
}

output endpoint string = account.properties.documentEndpoint
