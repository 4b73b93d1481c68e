// The three data sets (their small files) through the whole stack: as recorded, and delivered late,
// repeated and out of order into the convoys that follow the sender's order. Order, windows and
// figures of every key against the truth that another program computed.
// The full sets: test/data/full.ts.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { packageRoot } from '../../infra/local/address.ts';
import { type LocalStack, startLocalStack } from '../../infra/local/stack.ts';
import { Api, Queues, runConvoy, settledAll } from '../support/doors.ts';
import { describeWithData } from '../support/shared-data.ts';
import { expectedDigests, seenDigests, sendArguments, streamsOf } from '../support/streams.ts';

describeWithData('the data sets', () => {
  let stack: LocalStack;
  let api: Api;
  let queues: Queues;

  beforeAll(async () => {
    stack = await startLocalStack({ appDir: packageRoot(), memory: true, logLevel: 'error' });
    api = new Api(stack.url);
    queues = new Queues(stack.serviceBus);
  });

  afterAll(async () => {
    await queues?.[Symbol.asyncDispose]();
    await stack?.[Symbol.asyncDispose]();
  });

  test.each(streamsOf('events-smoke.csv'))(
    '$set into $convoy',
    { timeout: 120_000 },
    async (stream) => {
      const { args, input } = sendArguments(stream);

      const ended = await runConvoy([...args, '--connection', stack.serviceBus], input);
      await settledAll(api, queues, stream.convoy);

      expect(ended.code, ended.stderr).toBe(0);
      expect(await seenDigests(api, stream)).toEqual(expectedDigests(stream));
    },
  );
});
