// An effect: the convoy's work with the outside world, one message at a time, at least once. The
// result goes into the commit that settles the message; a crash before it runs the effect again,
// with the same idempotency key.
import { sleep } from '../clock.ts';
import { messageOf } from '../convoy/apply.ts';
import type { ConvoyDefinition } from '../convoy/definition.ts';
import type { EffectOutcome, EffectRequest } from '../convoy/draft.ts';
import type { Progress } from '../convoy/state.ts';
import { reasonOf } from '../errors.ts';
import { convoyIdOf, hexHash } from '../keys.ts';
import type { Place } from './placed.ts';
import type { Engine } from './ports.ts';

/** Never rejects: a failure is an outcome. A handler that ignores its signal is left behind when
 *  the time is up; what it still does is the reason why effects need their idempotency key. */
export async function runEffect(
  engine: Pick<Engine, 'clock'>,
  definition: ConvoyDefinition,
  { convoy, key, progress, ...request }: Place & EffectRequest & { progress: Progress },
): Promise<EffectOutcome> {
  const { admitted, state, attempt } = request;
  const { position, messageId } = admitted;
  const limit = new AbortController();
  const done = new AbortController();
  const timeout = sleep(engine.clock, definition.effectSeconds * 1000, done.signal).then(
    (): EffectOutcome => {
      limit.abort();
      const reason = `the effect took longer than ${definition.effectSeconds} s`;
      return { position, kind: 'failed', code: 'CVY_EFFECT_TIMEOUT', reason };
    },
  );
  // The whole key of a lane: a message that a replay moves to another lane keeps it.
  const whole = convoyIdOf(convoy, progress.lane?.key ?? key);
  const idempotencyKey = hexHash(`${whole}\n${messageId}`);
  const context = { idempotencyKey, signal: limit.signal, state, attempt };
  const work = async (): Promise<EffectOutcome> => {
    try {
      const message = messageOf({ key, progress }, admitted, request.body);
      const result = await definition.effect?.(message, context);
      return { position, kind: 'done', result };
    } catch (error) {
      return { position, kind: 'failed', code: 'CVY_EFFECT', reason: reasonOf(error) };
    }
  };
  const outcome = await Promise.race([work(), timeout]);
  done.abort();
  return outcome;
}
