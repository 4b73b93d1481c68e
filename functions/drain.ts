// The drain activity: at least once, possibly twice at a time; the fence (H5) makes that harmless.
import * as df from 'durable-functions';
import { drain } from '../shared/engine/drain.ts';
import type { DrainRequest } from '../shared/engine/drain-context.ts';
import { ConvoyError } from '../shared/errors.ts';
import { engineWith } from './wiring/deps.ts';
import { drainName } from './wiring/instances.ts';

const noHub = (): never => {
  throw new ConvoyError('CVY_INVARIANT', 'a drain reached for the hub');
};

df.app.activity(drainName, {
  handler: async (request: DrainRequest) =>
    drain(await engineWith({ start: noHub, wake: noHub }), request),
});
