// PURE. The sample stream and what must come of it: seeded order lifecycles, interleaved.
//
// Owns:   which messages are sent in which order, and the outcome of each by its own small model of
//         an order, written apart from the convoy `orders` so that one can judge the other.
// Leaves: sending to feeder.ts, looking to observer.ts, judging to judge.ts.
//
// G1. The same run number, seed and size give the same plan.
// G2. Keys and ids carry run and seed, so that no run meets what an earlier one left behind.
// G3. A repeat has the id and the body of its first sending and comes later.

export interface PlannedMessage {
  key: string;
  id: string;
  type: string;
  body: Record<string, string | number>;
}

export interface OrderState {
  status: 'new' | 'placed' | 'paid' | 'shipped' | 'delivered' | 'cancelled';
  amount: number;
  steps: string[];
}

/** What must have become of one message. */
export interface Expectation {
  outcome: 'applied' | 'rejected';
  /** Subject of its one output. */
  subject: string;
}

/** What must have become of one key. */
export interface KeyPlan {
  key: string;
  /** Ids in the order of their first sending. */
  ids: string[];
  expected: Record<string, Expectation>;
  state: OrderState;
}

export interface SamplePlan {
  convoy: 'orders';
  run: number;
  seed: number;
  /** In the order of sending, repeats included. */
  messages: PlannedMessage[];
  keys: KeyPlan[];
  /** Repeats among the messages. */
  repeats: number;
}

export interface PlanOptions {
  run: number;
  seed: number;
  orders: number;
}

type Random = () => number;

const repeatShare = 0.03;
const illegalShare = 0.04;
const cancelShare = 0.15;
/** How many orders are under way at a time, as share of all. */
const spread = 0.4;
const carriers = ['Kestrel', 'Northway', 'Postbote', 'Wagon 9'];
const reasons = ['customer changed their mind', 'out of stock', 'payment withdrawn'];

/** What a legal step leads to; a step that is not listed is refused. */
const legal: Readonly<Record<string, { from: readonly string[]; to: OrderState['status'] }>> = {
  OrderPlaced: { from: ['new'], to: 'placed' },
  OrderPaid: { from: ['placed'], to: 'paid' },
  OrderShipped: { from: ['paid'], to: 'shipped' },
  OrderDelivered: { from: ['shipped'], to: 'delivered' },
  OrderCancelled: { from: ['placed', 'paid'], to: 'cancelled' },
};

/** The plan of one run. */
export function planSample({ run, seed, orders }: PlanOptions): SamplePlan {
  const random = randomFrom(seed);
  const timed: { at: number; message: PlannedMessage }[] = [];
  let repeats = 0;
  for (let order = 1; order <= orders; order += 1) {
    const key = `r${run}-s${seed}-order-${String(order).padStart(4, '0')}`;
    // Each order begins somewhere in the run and takes its steps with pauses of its own.
    let at = random();
    lifecycle(random).forEach(({ type, body }, i) => {
      const message = { key, id: `${key}.${i + 1}`, type, body };
      timed.push({ at, message });
      if (random() < repeatShare) {
        repeats += 1;
        timed.push({ at: at + 1e-6 + random() * spread, message });
      }
      at += (1e-6 + random()) * (spread / 4);
    });
  }
  // Sorting is stable, so steps of one order at the same instant keep their order.
  timed.sort((a, b) => a.at - b.at);
  const messages = timed.map(({ message }) => message);
  return { convoy: 'orders', run, seed, messages, keys: expectationsOf(messages), repeats };
}

/** What an order becomes by the messages of its key, each counted at its first sending. */
export function expectationsOf(messages: readonly PlannedMessage[]): KeyPlan[] {
  const plans = new Map<string, KeyPlan>();
  for (const message of messages) {
    const plan = plans.get(message.key) ?? emptyPlan(message.key);
    plans.set(message.key, plan);
    if (plan.expected[message.id]) continue;
    plan.ids.push(message.id);
    plan.expected[message.id] = step(plan.state, message);
  }
  return [...plans.values()];
}

function emptyPlan(key: string): KeyPlan {
  return { key, ids: [], expected: {}, state: { status: 'new', amount: 0, steps: [] } };
}

function step(state: OrderState, message: PlannedMessage): Expectation {
  const rule = legal[message.type];
  if (!rule || !rule.from.includes(state.status)) {
    return { outcome: 'rejected', subject: 'order.rejected' };
  }
  state.status = rule.to;
  state.steps.push(message.id);
  if (message.type === 'OrderPlaced') state.amount = Number(message.body['amount']);
  return { outcome: 'applied', subject: `order.${rule.to}` };
}

type Step = Pick<PlannedMessage, 'type' | 'body'>;

function lifecycle(random: Random): Step[] {
  const amount = 500 + Math.floor(random() * 49_500);
  const placed = { type: 'OrderPlaced', body: { amount, currency: 'EUR' } };
  const paid = { type: 'OrderPaid', body: { amount } };
  const shipped = { type: 'OrderShipped', body: { carrier: oneOf(carriers, random) } };
  const delivered = { type: 'OrderDelivered', body: {} };
  const cancelled = { type: 'OrderCancelled', body: { reason: oneOf(reasons, random) } };
  const steps: Step[] =
    random() < cancelShare
      ? random() < 0.5
        ? [placed, cancelled]
        : [placed, paid, cancelled]
      : [placed, paid, shipped, delivered];
  if (random() < illegalShare) {
    // Where it does not belong: shipped before paid, paid twice, cancelled when delivered.
    const stray = oneOf([shipped, paid, delivered, cancelled], random);
    steps.splice(1 + Math.floor(random() * steps.length), 0, stray);
  }
  return steps;
}

function oneOf<T>(list: readonly T[], random: Random): T {
  const one = list[Math.floor(random() * list.length)];
  if (one === undefined) throw new RangeError('nothing to choose from');
  return one;
}

/** mulberry32: small, seeded, the same everywhere. */
function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
