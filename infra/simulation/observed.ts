// A definition whose state keeps a ledger: which message took effect, in which order, and how many
// outputs it emitted. The convoy inside sees nothing of it.
import type { ConvoyDefinition } from '../../shared/convoy/definition.ts';

/** `<position>:<message id>:<emitted>;` for every applied message. */
export interface Observed {
  inner: unknown;
  ledger: string;
}

export interface Effect {
  position: number;
  id: string;
  emitted: number;
}

export function effectsIn(state: unknown): Effect[] {
  return observedIn(state)
    .ledger.split(';')
    .filter((entry) => entry !== '')
    .map((entry) => {
      const [position, id = '', emitted] = entry.split(':');
      return { position: Number(position), id: decodeURIComponent(id), emitted: Number(emitted) };
    });
}

/** The state of the convoy inside. */
export function innerOf(state: unknown): unknown {
  return observedIn(state).inner;
}

// The edge where a stored state becomes what this file made of it.
const observedIn = (state: unknown): Observed => state as Observed;

export function observed(definition: ConvoyDefinition): ConvoyDefinition {
  const { effect } = definition;
  return {
    ...definition,
    initialState: { inner: definition.initialState, ledger: '' } satisfies Observed,
    apply(state, message, context) {
      const { inner, ledger } = observedIn(state);
      let emitted = 0;
      const next = definition.apply(inner, message, {
        ...context,
        emit(type, body) {
          context.emit(type, body);
          emitted += 1;
        },
      });
      if ((JSON.stringify(next) as string | undefined) === undefined) return undefined;
      const entry = `${message.position}:${encodeURIComponent(message.id)}:${emitted};`;
      return { inner: next, ledger: ledger + entry } satisfies Observed;
    },
    effect:
      effect &&
      ((message, context) =>
        effect(message, { ...context, state: observedIn(context.state).inner })),
    windows: definition.windows.map((window) => ({
      ...window,
      value: (message, before) => window.value(message, observedIn(before).inner),
      reduce: window.reduce && {
        ...window.reduce,
        add: (result, message, before) =>
          window.reduce?.add(result, message, observedIn(before).inner),
      },
    })),
    migrate: Object.fromEntries(
      Object.entries(definition.migrate).map(([version, step]) => [
        version,
        (state: unknown) => ({ ...observedIn(state), inner: step(observedIn(state).inner) }),
      ]),
    ),
  };
}
