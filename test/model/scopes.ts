// How small the worlds are that are searched whole. What a rule guards against needs few messages
// and few faults; which ones is the art. `npm test` searches the small ones, `npm run model` all.
import type { Scope } from './scope.ts';

const one = ['m1'];
const two = ['m1', 'm2'];
const three = ['m1', 'm2', 'm3'];
const twice = ['m1', 'm2', 'm1', 'm3'];

type Entry = [name: string, deliveries: readonly string[], budget: Scope['budget']];

const alone = ([name, deliveries, budget]: Entry): Scope => {
  return { name, deliveries, budget, hasSweeper: false };
};
const swept = (entry: Entry): Scope => ({ ...alone(entry), hasSweeper: true });

/** Searched in every `npm test`, some seconds in all. */
export const smallScopes: readonly Scope[] = [
  alone(['three messages, one sent twice', twice, {}]),
  alone(['stale reads', three, { stale: 1 }]),
  alone(['no answers', two, { silence: 1, wake: 1 }]),
  alone(['a crash without a sweeper', two, { crash: 1 }]),
  alone(['a lost lock', two, { lock: 1 }]),
  alone(['a zombie', two, { zombie: 1 }]),
  alone(['a zombie and stale reads', two, { zombie: 1, stale: 1 }]),
  alone(['an id run again', two, { lock: 1, rerun: 1 }]),
  swept(['a terminated instance', two, { terminate: 1 }]),
  swept(['a terminated instance that is purged', one, { terminate: 1, purge: 1, lock: 1 }]),
  swept(['a wrong alarm', two, { alarm: 1 }]),
  swept(['a pause', two, { pause: 1 }]),
  swept(['an old deployment', two, { unknown: 1 }]),
  { ...swept(['a poisoned message', two, { zombie: 1 }]), poison: one },
];

/** Minutes each; more messages, more faults, and faults of several kinds together. */
export const largeScopes: readonly Scope[] = [
  alone(['four messages, stale reads', [...three, 'm4'], { stale: 2, wake: 1 }]),
  alone(['three messages, two crashes', three, { crash: 2 }]),
  alone(['two lost locks', one, { lock: 2, crash: 1 }]),
  alone(['two zombies', two, { zombie: 2 }]),
  alone(['zombies, stale by three writes', two, { zombie: 1, stale: 2 }]),
  alone(['a lost lock, a zombie and a stale read', two, { lock: 1, zombie: 1, stale: 1 }]),
  swept(['a crash and a lost lock', two, { crash: 1, lock: 1 }]),
  swept(['a wrong alarm, a zombie and a stale read', one, { alarm: 1, zombie: 1, stale: 1 }]),
  swept([
    'terminated, run again, with a zombie',
    one,
    { terminate: 1, rerun: 1, zombie: 1, lock: 1 },
  ]),
  swept(['a pause and a crash', one, { pause: 1, crash: 1, zombie: 1 }]),
  swept(['an old deployment, a zombie, no answer', one, { unknown: 1, zombie: 1, silence: 1 }]),
  { ...swept(['a poisoned message, a pause', two, { pause: 1, zombie: 1 }]), poison: one },
].map((scope) => (scope.name.includes('three writes') ? { ...scope, staleWrites: 3 } : scope));
