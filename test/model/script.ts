// Runs real asynchronous code against ports that answer from a script. Up to the end of the script
// the code runs on; the first call behind it is the step that the process takes next.
import type { Output } from '../../shared/convoy/state.ts';
import type { Engine } from '../../shared/engine/ports.ts';
import type { ConvoyStore } from '../../shared/store/store.ts';

/** What a port answered; `text` tells answers apart. `value` is shared by all runs and frozen. */
export interface Answer {
  text: string;
  value?: unknown;
  /** The port rejected with StoreUnavailable instead. */
  failed?: true;
}

export interface Call {
  method: string;
  args: readonly unknown[];
}

/** Where a script ended: at the next call, or the code has returned. */
export interface Position {
  call: Call | undefined;
  result: unknown;
  /** Instances that the code entered into its `started` cache behind the last answer. */
  startedNow: readonly string[];
}

const never = new Promise<never>(() => undefined);

type Ports = Pick<Engine, 'store' | 'instances' | 'publisher' | 'started'>;

/** Follows the script as far as it goes. */
export async function follow(
  history: readonly Answer[],
  options: { unavailable(): Error; run(ports: Ports): Promise<unknown> },
): Promise<Position> {
  const script = new Script(history, options.unavailable);
  const run = options.run(portsOf(script)).then(
    (result) => ({ call: undefined, result, startedNow: script.startedNow }),
    (error: unknown) => ({
      call: undefined,
      result: { kind: 'rejected', reason: String(error) },
      startedNow: script.startedNow,
    }),
  );
  return Promise.race([run, script.end]);
}

class Script {
  readonly startedNow: string[] = [];
  readonly end: Promise<Position>;
  readonly #history: readonly Answer[];
  readonly #unavailable: () => Error;
  #reach: (position: Position) => void = () => undefined;
  #at = 0;

  constructor(history: readonly Answer[], unavailable: () => Error) {
    this.#history = history;
    this.#unavailable = unavailable;
    this.end = new Promise((resolve) => void (this.#reach = resolve));
  }

  /** The next answer; undefined when the script has ended before. */
  next(call: Call): Answer | undefined {
    const answer = this.#history[this.#at];
    if (this.#at === this.#history.length)
      this.#reach({ call, result: undefined, startedNow: [...this.startedNow] });
    this.#at += 1;
    return answer;
  }

  async ask(method: string, args: readonly unknown[]): Promise<unknown> {
    const answer = this.next({ method, args });
    if (answer === undefined) return never;
    if (answer.failed) throw this.#unavailable();
    return answer.value;
  }

  started(instanceId: string): void {
    if (this.#at === this.#history.length) this.startedNow.push(instanceId);
  }
}

const storeMethods = [
  'readGate',
  'readProgress',
  'readSeen',
  'readInbox',
  'readInboxAt',
  'readOutbox',
  'batch',
  'gatesUnwritten',
  'gatesDue',
];

function portsOf(script: Script): Ports {
  const asked = (method: string) => [method, (...args: unknown[]) => script.ask(method, args)];
  const store = Object.fromEntries(storeMethods.map(asked)) as unknown as ConvoyStore;
  const publisher = {
    publish: async (_convoy: string, _key: string, outputs: readonly Output[]) =>
      void (await script.ask('publish', [outputs])),
  };
  const instances = {
    start: async (id: string, input: unknown) => void (await script.ask('start', [id, input])),
    wake: async (id: string) => (await script.ask('wake', [id])) as 'raised' | 'missing',
  };
  // A look into the cache is no port call: it happens in the same step as the answer before it.
  const cache = {
    size: 0,
    has: (id: string) => script.next({ method: 'hasStarted', args: [id] })?.value === true,
    add: (id: string) => script.started(id),
  };
  return { store, publisher, instances, started: cache as unknown as Set<string> };
}
