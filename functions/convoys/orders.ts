// Order lifecycles: place → pay → ship → deliver, cancel before shipping. An illegal step is
// refused and recorded, never retried: the sender is told by the output `order.rejected`.
import { z } from 'zod';
import { defineConvoy } from '../../shared/convoy/definition.ts';

type Status = 'new' | 'placed' | 'paid' | 'shipped' | 'delivered' | 'cancelled';

interface Order {
  status: Status;
  /** In the smallest unit of the currency. */
  amount: number;
  /** Ids of the applied messages, in order. */
  steps: string[];
}

// A Map: a type may be called `constructor`.
const steps = new Map<string, { from: Status[]; to: Status }>([
  ['OrderPlaced', { from: ['new'], to: 'placed' }],
  ['OrderPaid', { from: ['placed'], to: 'paid' }],
  ['OrderShipped', { from: ['paid'], to: 'shipped' }],
  ['OrderDelivered', { from: ['shipped'], to: 'delivered' }],
  ['OrderCancelled', { from: ['placed', 'paid'], to: 'cancelled' }],
]);

const initialState: Order = { status: 'new', amount: 0, steps: [] };

export const orders = defineConvoy({
  name: 'orders',
  schema: z.looseObject({ amount: z.coerce.number().int().nonnegative().optional() }),
  initialState,
  apply(order, message, context) {
    const step = steps.get(message.type);
    if (step === undefined || !step.from.includes(order.status)) {
      const reason = `${message.type} is not possible: the order is ${order.status}`;
      context.emit('order.rejected', { id: message.id, type: message.type, reason });
      context.reject(reason);
      return order;
    }
    context.emit(`order.${step.to}`, { id: message.id, status: step.to });
    return {
      status: step.to,
      amount: step.to === 'placed' ? (message.body.amount ?? 0) : order.amount,
      steps: [...order.steps, message.id],
    };
  },
});
