// The sender of a round, a program of its own, so that it can be killed: begins where the one
// before it had got to, so that what was under way is sent twice and in the same order.
//
// Standard input: one line of JSON, FeederOrder. Standard output: `g <index> <ms>` = given to the
// sender at that instant, `s <count>` = so many accepted, as counted from the first message.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import type { SamplePlan } from '../../infra/local/sample/plan.ts';
import { createSender } from '../../shared/sender.ts';

export interface FeederOrder {
  planFile: string;
  serviceBus: string;
  /** Messages that were accepted from earlier lives. */
  from: number;
  perSecond: number;
  /** The last messages wait until `go` comes as a second line. */
  heldBack: number;
}

/** Messages that come at once: some are under way at most moments. */
const burst = 60;

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const order = JSON.parse(String((await lines.next()).value)) as FeederOrder;
const { messages, convoy } = JSON.parse(readFileSync(order.planFile, 'utf8')) as SamplePlan;

async function* paced() {
  const startedAt = Date.now();
  for (let i = order.from; i < messages.length; i += 1) {
    const message = messages[i];
    if (!message) return;
    const count = i - order.from;
    const dueAt = startedAt + (count * 1_000) / order.perSecond;
    if (count % burst === 0 && dueAt > Date.now()) await pause(dueAt - Date.now());
    if (i === Math.max(order.from, messages.length - order.heldBack)) await lines.next();
    process.stdout.write(`g ${i} ${Date.now()}\n`);
    yield message;
  }
}

await using sender = createSender({ connectionString: order.serviceBus }, { retryForMs: 120_000 });
await sender.sendAll(convoy, paced(), {
  onProgress: ({ sent }) => void process.stdout.write(`s ${order.from + sent}\n`),
});
process.exit(0);
