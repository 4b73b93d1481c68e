// The input queues of the registered convoys: of each its own one, and those that generations of
// lanes have moved keys to. No two convoys share one: the registry is refused (assertRegistry).
import { queuesOf } from '../../shared/convoy/lane-plan.ts';
import { convoys } from '../convoys/registry.ts';

export interface InputQueue {
  convoy: string;
  queue: string;
  /** `intake-<convoy>`; of a further queue `intake-<convoy>_2`, which no convoy can be called. */
  functionName: string;
}

export function inputQueues(): InputQueue[] {
  return convoys.flatMap((definition) =>
    queuesOf(definition).map((queue, i) => {
      const functionName = `intake-${definition.name}${i === 0 ? '' : `_${i + 1}`}`;
      return { convoy: definition.name, queue, functionName };
    }),
  );
}
