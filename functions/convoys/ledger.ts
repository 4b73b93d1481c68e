// A ledger per customer: a signed integer `amount`, any type, zero is legal. What would make the
// balance negative is refused. One window a day of what was booked.
import { z } from 'zod';
import { type ConvoyOptions, defineConvoy } from '../../shared/convoy/definition.ts';

interface Ledger {
  /** In the smallest unit of the currency. */
  balance: number;
  entries: number;
}

const initialState: Ledger = { balance: 0, entries: 0 };

const schema = z.looseObject({ amount: z.coerce.number().int() });

export const ledgerOptions: ConvoyOptions<typeof schema, Ledger> = {
  name: 'ledger',
  schema,
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
  windows: [
    {
      name: 'day',
      kind: 'tumbling',
      seconds: 86_400,
      quietSeconds: 60,
      late: 'amend',
      value: (message) => message.body.amount,
    },
  ],
};

export const ledger = defineConvoy(ledgerOptions);
