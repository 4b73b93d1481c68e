// A ledger per customer: a signed integer `amount`, any type, zero is legal. What would make the
// balance negative is refused.
import { z } from 'zod';
import { defineConvoy } from '../../shared/convoy/definition.ts';

interface Ledger {
  /** In the smallest unit of the currency. */
  balance: number;
  entries: number;
}

const initialState: Ledger = { balance: 0, entries: 0 };

export const ledger = defineConvoy({
  name: 'ledger',
  schema: z.looseObject({ amount: z.coerce.number().int() }),
  initialState,
  apply(account, message, context) {
    const { amount } = message.body;
    const balance = account.balance + amount;
    if (balance < 0) {
      const reason = `${amount} would overdraw the balance of ${account.balance}`;
      context.emit('ledger.rejected', { id: message.id, amount, reason });
      context.reject(reason);
      return account;
    }
    context.emit('ledger.booked', { id: message.id, amount, balance });
    return { balance, entries: account.entries + 1 };
  },
});
