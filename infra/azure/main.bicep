// What Convoy needs in Azure: the same as on a laptop, with identity instead of keys.
// `azd up` deploys it; the parameters come from main.parameters.json.
targetScope = 'subscription'

@minLength(1)
@maxLength(64)
@description('Name of the environment; part of every resource name.')
param environmentName string

@minLength(1)
@description('A region that offers Flex Consumption.')
param location string

@description('Input queues, one per convoy; `<queue>-out` is made for each. Kept equal to functions/convoys/registry.ts by a test.')
param queues array = loadJsonContent('queues.json')

@description('An instance serves up to 64 sessions at once (host.json); instances beyond keys / 64 idle.')
@minValue(1)
@maxValue(1000)
param instancesMax int = 20

var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = { 'azd-env-name': environmentName }

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module identity 'identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    name: 'id-convoy-${token}'
    location: location
    tags: tags
  }
}

module messaging 'messaging.bicep' = {
  name: 'messaging'
  scope: group
  params: {
    name: 'sb-convoy-${token}'
    location: location
    tags: tags
    queues: queues
    principalId: identity.outputs.principalId
  }
}

module store 'store.bicep' = {
  name: 'store'
  scope: group
  params: {
    name: 'cosmos-convoy-${token}'
    location: location
    tags: tags
    principalId: identity.outputs.principalId
  }
}

module app 'app.bicep' = {
  name: 'app'
  scope: group
  params: {
    token: token
    location: location
    tags: tags
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    principalId: identity.outputs.principalId
    serviceBusHost: messaging.outputs.host
    cosmosEndpoint: store.outputs.endpoint
    instancesMax: instancesMax
  }
}

output AZURE_LOCATION string = location
output AZURE_RESOURCE_GROUP string = group.name
output SERVICE_CONVOY_NAME string = app.outputs.name
output CONVOY_URL string = app.outputs.url
output SERVICE_BUS_NAMESPACE string = messaging.outputs.host
