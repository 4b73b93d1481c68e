// The full data sets (534,000 events) through the local stack, twice: as recorded, and delivered
// late, repeated and out of order into the convoys that follow the sender's order. Two processes,
// as a user has them; the truth is another program's.
//
// npm run data -- [--smoke] [--only <convoy>]     exit 0 only if every digest is the truth's
import { parseArgs } from 'node:util';
import { packageRoot } from '../../infra/local/address.ts';
import { Api, Queues, runConvoy, settledAll } from '../support/doors.ts';
import {
  type Stream,
  expectedDigests,
  seenDigests,
  sendArguments,
  streamsOf,
} from '../support/streams.ts';
import { type Host, startCloud, startHost } from './stack.ts';

const { values: flags } = parseArgs({
  options: { smoke: { type: 'boolean' }, only: { type: 'string' } },
});
const reportEveryMs = 10_000;
const print = (line: string): void => void process.stdout.write(`${line}\n`);

async function run(stream: Stream, at: { host: Host; serviceBus: string }): Promise<boolean> {
  const api = new Api(at.host.url);
  await using queues = new Queues(at.serviceBus);
  const expected = expectedDigests(stream);
  print(`${stream.convoy}: ${expected.events} events of ${expected.keys} keys`);
  const startedAt = performance.now();
  const seconds = (): number => (performance.now() - startedAt) / 1000;
  const before = (await api.totals()).admitted;
  const progress = setInterval(() => {
    void api.totals().then(
      ({ admitted, waiting }) => {
        const settled = admitted - before - waiting;
        const rate = Math.round(settled / seconds());
        print(`  ${seconds().toFixed(0)} s: ${settled} settled, ${waiting} wait, ${rate}/s`);
      },
      () => print('  no answer'),
    );
  }, reportEveryMs);
  const { args, input } = sendArguments(stream);
  const sending = runConvoy([...args, '--connection', at.serviceBus], input);
  const ended = await sending;
  if (ended.code !== 0) print(`  send ended with ${ended.code}: ${ended.stderr}`);
  await settledAll(api, queues, stream.convoy);
  clearInterval(progress);
  const took = seconds();
  print(`  settled after ${took.toFixed(1)} s: ${Math.round(expected.events / took)} events/s`);
  const seen = await seenDigests(api, stream, (keys, of) => {
    if (keys % 5_000 === 0) print(`  ${keys} of ${of} keys compared`);
  });
  const wrong = Object.entries(expected).filter(
    ([name, value]) => seen[name as keyof typeof seen] !== value,
  );
  for (const [name, value] of wrong) {
    print(`  ${name}: ${seen[name as keyof typeof seen]} instead of ${value}`);
  }
  print(`  ${wrong.length === 0 ? 'equal to the truth' : 'NOT the truth'}`);
  return ended.code === 0 && wrong.length === 0;
}

async function main(): Promise<void> {
  const log = (line: string): void => print(`  ${line}`);
  const streams = streamsOf(flags.smoke ? 'events-smoke.csv' : 'events.csv.gz').filter(
    ({ convoy }) => flags.only === undefined || convoy === flags.only,
  );
  if (streams.length === 0) throw new TypeError(`--only ${flags.only}: there is no such convoy`);
  await using cloud = await startCloud(log);
  await using host = await startHost({ name: 'host', appDir: packageRoot(), cloud, log });
  let failed = 0;
  for (const stream of streams) {
    if (!(await run(stream, { host, serviceBus: cloud.address.serviceBus }))) failed += 1;
  }
  print(`${streams.length - failed} of ${streams.length} streams are equal to the truth`);
  process.exitCode = failed === 0 ? 0 : 1;
}

await main();
