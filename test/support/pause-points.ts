// Named points of the real servers at which a test stops the world of one key, looks, and lets go.
//
// Owns:   the intercepts of Cosmos server, hub and broker, and the record of every batch and its
//         status.
// Leaves: which point is meant to the test (a predicate), time limits to the test runner.
//
// A point holds the first request or step that it means; later ones pass. What is held is let go
// when the points are disposed, so that a failed test does not hang the stack of the next.
import type { BrokerIntercept, BrokerStep } from '../../infra/local/broker/broker.ts';
import { CosmosFault } from '../../infra/local/cosmos/intercept.ts';
import type { CosmosIntercept, CosmosRequestInfo } from '../../infra/local/cosmos/intercept.ts';
import type { HubStep } from '../../infra/local/durable/parts.ts';

export interface Point<Subject> {
  /** Resolves when something stands at the point. */
  readonly reached: Promise<Subject>;
  /** Lets it go on. */
  release(): void;
  /** Cosmos: the connection is cut instead of an answer. Hub: the process "dies" at this step.
   *  Broker: the step is refused. */
  fail(): void;
}

export interface AnsweredBatch {
  request: CosmosRequestInfo;
  status: number;
}

class HeldPoint<Subject> implements Point<Subject> {
  readonly #means: (subject: Subject) => boolean;
  readonly #failure: () => Error;
  readonly #reached = Promise.withResolvers<Subject>();
  readonly #decided = Promise.withResolvers<Error | undefined>();
  #isTaken = false;

  constructor(means: (subject: Subject) => boolean, failure: () => Error) {
    this.#means = means;
    this.#failure = failure;
  }

  get reached(): Promise<Subject> {
    return this.#reached.promise;
  }

  release(): void {
    this.#decided.resolve(undefined);
  }

  fail(): void {
    this.#decided.resolve(this.#failure());
  }

  async pass(subject: Subject): Promise<void> {
    if (this.#isTaken || !this.#means(subject)) return;
    this.#isTaken = true;
    this.#reached.resolve(subject);
    const failure = await this.#decided.promise;
    if (failure) throw failure;
  }
}

const cut = (): Error => new CosmosFault(503, { reset: true });
const death = (): Error => new Error('died here, by the test');

export class PausePoints implements Disposable {
  /** Every batch that was answered, in order. */
  readonly batches: AnsweredBatch[] = [];
  readonly #before = new Set<HeldPoint<CosmosRequestInfo>>();
  readonly #after = new Set<HeldPoint<CosmosRequestInfo>>();
  readonly #steps = new Set<HeldPoint<HubStep>>();
  readonly #sends = new Set<HeldPoint<BrokerStep>>();

  readonly cosmos: CosmosIntercept = {
    before: (request) => passAll(this.#before, request),
    after: (request, status) => {
      if (request.kind === 'batch') this.batches.push({ request, status });
      return passAll(this.#after, request);
    },
  };

  readonly broker: BrokerIntercept = { beforeStep: (step) => passAll(this.#sends, step) };

  readonly hub = (step: HubStep): Promise<void> => passAll(this.#steps, step);

  /** Holds a request that has arrived and is not applied. */
  before(means: (request: CosmosRequestInfo) => boolean): Point<CosmosRequestInfo> {
    return held(this.#before, new HeldPoint(means, cut));
  }

  /** Holds the answer to a request that is durable. */
  after(means: (request: CosmosRequestInfo) => boolean): Point<CosmosRequestInfo> {
    return held(this.#after, new HeldPoint(means, cut));
  }

  /** Holds a step of the hub. */
  at(means: (step: HubStep) => boolean): Point<HubStep> {
    return held(this.#steps, new HeldPoint(means, death));
  }

  /** Holds a send before the broker takes it. */
  sending(queue: string, sessionId: string): Point<BrokerStep> {
    const means = (step: BrokerStep): boolean =>
      step.kind === 'send' && step.queue === queue && step.sessionId === sessionId;
    return held(this.#sends, new HeldPoint(means, death));
  }

  /** Lets everything go and forgets all points and batches. */
  [Symbol.dispose](): void {
    for (const set of [this.#before, this.#after, this.#steps, this.#sends]) {
      for (const point of set) point.release();
      set.clear();
    }
    this.batches.length = 0;
  }
}

function held<Subject>(set: Set<HeldPoint<Subject>>, point: HeldPoint<Subject>) {
  set.add(point);
  return point;
}

async function passAll<Subject>(set: Set<HeldPoint<Subject>>, subject: Subject): Promise<void> {
  // A point that is set while something is held means what comes after it.
  for (const point of [...set]) await point.pass(subject);
}
