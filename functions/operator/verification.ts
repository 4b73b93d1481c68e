// `GET …/verify`: whether the chain of a key holds, as an auditor reads it.
import { isoInstant } from '../../shared/clock.ts';
import { verify } from '../../shared/engine/verify.ts';
import { toPathKey } from '../../shared/keys.ts';
import type { OperatorDeps } from './deps.ts';
import { storedKey } from './lane-keys.ts';
import { type Call, assertParameters, convoyIn, keyIn } from './request.ts';

export async function verifyKey(deps: OperatorDeps, call: Call) {
  assertParameters(call, []);
  const { store, clock, convoys } = deps;
  const convoy = convoyIn(call);
  const place = { convoy, key: await storedKey(deps, convoy, keyIn(call)) };
  const definitions = new Map(convoys.map((definition) => [definition.name, definition]));
  const answer = await verify({ store, clock, definitions }, place);
  const { oldestKept } = answer;
  return {
    ...answer,
    pathKey: toPathKey(place.key),
    oldestKept: oldestKept && { ...oldestKept, settledAt: isoInstant(oldestKept.settledAt) },
  };
}
