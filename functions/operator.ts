// The HTTP API and the board: registers the routes of operator/routes.ts and hands them what the
// app has.
//
// Auth level `function` on everything but the board, which holds no data (CONTRACT §5).
import { type InvocationContext, app } from '@azure/functions';
import * as df from 'durable-functions';
import { realClock } from '../shared/clock.ts';
import { currentLayout } from '../shared/engine/layout.ts';
import { operate } from '../shared/engine/operate.ts';
import { replayDead, replayQuarantined } from '../shared/engine/replay.ts';
import { ConvoyError } from '../shared/errors.ts';
import { hasLanes } from '../shared/lanes.ts';
import { serviceBusAddress } from '../shared/service-bus.ts';
import { throttlingAnswer } from '../shared/throttling.ts';
import { convoys } from './convoys/registry.ts';
import type { HealthDeps, OperatorDeps, Surroundings } from './operator/deps.ts';
import { createServiceBusPing } from './operator/health.ts';
import { problemLine, problemOf } from './operator/problem.ts';
import { boardResponse, respond, routes } from './operator/routes.ts';
import { deps, freshEngineWith, instanceName, throttling } from './wiring/deps.ts';
import { customStatusOf, instancesOf } from './wiring/instances.ts';

/** The CLI and many front ends give up an answer after 30 s. */
const replayMsMax = 20_000;

const throttlingNow = (): object => throttlingAnswer(throttling, instanceName);

const health: HealthDeps = {
  clock: realClock,
  checkStore: async () => (await deps()).store.check(),
  pingServiceBus: createServiceBusPing(
    () => serviceBusAddress(process.env),
    convoys[0]?.queue ?? 'orders',
  ),
  throttling: throttlingNow,
  ...(convoys.some(({ lanes }) => hasLanes(lanes)) && { checkLanes }),
};

async function checkLanes(): Promise<void> {
  const { engine, store } = await deps();
  for (const definition of convoys) {
    if (hasLanes(definition.lanes)) await currentLayout({ ...engine, store }, definition);
  }
}

function surroundingsOf(context: InvocationContext): Surroundings {
  return {
    health,
    async deps(): Promise<OperatorDeps> {
      const { engine, sender, store } = await deps();
      return {
        store,
        clock: engine.clock,
        convoys,
        sender,
        currentLanes: async (convoy) => {
          const definition = convoys.find(({ name }) => name === convoy);
          if (!definition) throw new ConvoyError('CVY_CONVOY_UNKNOWN', `no convoy '${convoy}'`);
          return currentLayout({ ...engine, store }, definition);
        },
        operate: async (request) => operate(await freshEngineWith(instancesOf(context)), request),
        replayDead: async (request) =>
          replayDead(
            await freshEngineWith(instancesOf(context)),
            request,
            engine.clock.now() + replayMsMax,
          ),
        customStatusOf: (instanceId) => customStatusOf(context, instanceId),
        throttling: throttlingNow,
        replayQuarantined: async (request) =>
          replayQuarantined(await freshEngineWith(instancesOf(context)), request),
      };
    },
    onError(error) {
      // What the caller did wrong is in the caller's answer; the log is for what went wrong here.
      const { status } = problemOf(error);
      if (status >= 500) context.warn(problemLine(error));
    },
  };
}

for (const route of routes) {
  app.http(route.name, {
    methods: route.methods,
    route: route.route,
    authLevel: 'function',
    ...(route.needsHub ? { extraInputs: [df.input.durableClient()] } : {}),
    handler: (request, context) => respond(route, request, surroundingsOf(context)),
  });
}

app.http('apiBoard', {
  methods: ['GET'],
  route: 'board',
  authLevel: 'anonymous',
  handler: async () => boardResponse(),
});
