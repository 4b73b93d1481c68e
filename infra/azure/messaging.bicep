// Service Bus: session queues in, session queues with duplicate detection out.
//
// Sessions need Standard or Premium. Sessions, duplicate detection and partitioning cannot be changed
// after a queue was made. Unpartitioned, because order per key rests on one broker numbering (H14).
param name string
param location string
param tags object
param queues array
param principalId string

// Data Owner, not Receiver + Sender: target-based scaling reads queue counts and the start-up check reads
// queue properties; both need Manage.
var dataOwnerRole = '090c5cfd-751d-490a-894a-3ce6f1109419'

resource namespace 'Microsoft.ServiceBus/namespaces@2024-01-01' = {
  name: name
  location: location
  tags: tags
  sku: { name: 'Standard', tier: 'Standard' }
  properties: {
    disableLocalAuth: true
    minimumTlsVersion: '1.2'
  }
}

// Duplicate detection stays off: it is per queue and ours is per key, for as long as a definition says.
resource inputs 'Microsoft.ServiceBus/namespaces/queues@2024-01-01' = [
  for queue in queues: {
    parent: namespace
    name: queue
    properties: {
      requiresSession: true
      requiresDuplicateDetection: false
      enablePartitioning: false
      lockDuration: 'PT1M'
      maxDeliveryCount: 10
      deadLetteringOnMessageExpiration: true
      maxSizeInMegabytes: 5120
    }
  }
]

// Ten minutes cover every repeat of a publish that the drain can make (function time-out).
resource outputs 'Microsoft.ServiceBus/namespaces/queues@2024-01-01' = [
  for queue in queues: {
    parent: namespace
    name: '${queue}-out'
    properties: {
      requiresSession: true
      requiresDuplicateDetection: true
      duplicateDetectionHistoryTimeWindow: 'PT10M'
      enablePartitioning: false
      lockDuration: 'PT1M'
      maxDeliveryCount: 10
      maxSizeInMegabytes: 5120
    }
  }
]

resource access 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(namespace.id, principalId, dataOwnerRole)
  scope: namespace
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', dataOwnerRole)
  }
}

output host string = '${namespace.name}.servicebus.windows.net'
