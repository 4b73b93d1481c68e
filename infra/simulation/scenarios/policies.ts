// Every policy of a definition, chosen by the seed: order, poison, retries, effects, windows.
import { defineConvoy } from '../../../shared/convoy/definition.ts';
import type { WindowDefinition } from '../../../shared/convoy/window-definition.ts';
import type { Random } from '../random.ts';
import type { Plot } from '../scenario.ts';
import { type Numbered, limitsFor, messagesFor, messagesPerHistory, numbered } from './parts.ts';

interface State {
  sum: number;
}

export function policiesPlot(
  random: Random,
  options: { isTame?: true; afterComplete?: 'park' | 'reject' | 'reopen' } = {},
): Plot {
  const broken = new Set<string>();
  let isMended = false;
  const order = random.pick(['broker', 'broker', 'sender']);
  const hasEffect = random.chance(0.25);
  const isBroken = (id: string): boolean => !isMended && broken.has(id);
  const hasWindows = options.afterComplete === undefined && random.chance(0.7);
  const windows = hasWindows ? [windowFor(random)] : [];
  const definition = defineConvoy({
    name: 'simulated',
    schema: numbered,
    initialState: { sum: 0 } as State,
    order,
    ...(order === 'sender' && { gap: { waitSeconds: 20 } }),
    onPoison: random.pick(['block', 'park', 'park-lane']),
    retry: { attempts: random.pick([1, 3]), firstDelaySeconds: 1 },
    lingerSeconds: random.pick([0, 2, 5, 5]),
    ...(hasEffect && {
      async effect(message: { id: string }) {
        await Promise.resolve();
        if (isBroken(message.id)) throw new RangeError(`no answer for ${message.id}`);
      },
    }),
    windows,
    ...(options.afterComplete && { afterComplete: options.afterComplete }),
    apply(state, { id, body: { n } }, context) {
      if (!hasEffect && isBroken(id)) throw new RangeError(`cannot apply ${id}`);
      if (n < 0) {
        context.reject('negative');
        return state;
      }
      for (let i = n % 3; i >= 0; i -= 1) context.emit('summed', { id, n, i });
      return { sum: state.sum + n };
    },
  });
  const messages = messagesFor(random, {
    messages: messagesPerHistory,
    keys: random.pick([1, 1, 2, 3]),
    broken,
    bySender: order === 'sender',
    ...(!options.isTame && {
      brokenShare: random.pick([0, 0.03, 0.1]),
      rejectedShare: 0.03,
      invalidShare: order === 'sender' ? 0 : 0.03,
      keylessShare: order === 'sender' ? 0 : 0.01,
    }),
  });
  return {
    versions: [definition],
    messages,
    order,
    windows: definition.windows,
    ...limitsFor(random),
    mend: () => void (isMended = true),
  };
}

export function windowFor(random: Random): WindowDefinition<State, Numbered> {
  const kind = random.pick(['tumbling', 'tumbling', 'hopping', 'session']);
  return {
    name: 'w',
    kind,
    ...(kind === 'session' ? { gapSeconds: 15 } : { seconds: 30 }),
    ...(kind === 'hopping' && { everySeconds: 10 }),
    value: ({ body }) => body.n,
    late: random.pick(['amend', 'drop', 'next', 'park']),
    graceSeconds: random.pick([0, 20]),
    ...(random.chance(0.4) && { quietSeconds: 60 }),
  };
}
