// Whether the things Convoy stands on answer, and how fast.
import { isoInstant, sleep } from '../../shared/clock.ts';
import type { Clock } from '../../shared/clock.ts';
import { ConvoyError } from '../../shared/errors.ts';
import { openServiceBusClient } from '../../shared/service-bus.ts';
import type { ServiceBusAddress } from '../../shared/service-bus.ts';
import type { HealthDeps } from './deps.ts';
import { problemOf } from './problem.ts';
import { assertParameters } from './request.ts';
import type { Call } from './request.ts';

type Client = Awaited<ReturnType<typeof openServiceBusClient>>;
interface Opened {
  client: Client;
  receiver: ReturnType<Client['createReceiver']>;
}

const waitMsMax = 5_000;
/** Below the wait of the probe, so that the answer names the fault of the client. */
const pingMsMax = 2_000;

/** `GET /health`: 200 when every dependency answers, else 503; both name each with its latency. */
export async function showHealth(deps: HealthDeps, call: Call) {
  assertParameters(call, []);
  const { clock } = deps;
  const dependencies = await Promise.all([
    probe(clock, 'store', () => deps.checkStore()),
    probe(clock, 'serviceBus', () => deps.pingServiceBus()),
    ...(deps.checkLanes ? [probe(clock, 'lanes', deps.checkLanes)] : []),
  ]);
  const isWell = dependencies.every(({ status }) => status === 'ok');
  const status = isWell ? 'ok' : 'failing';
  return { status, at: isoInstant(clock.now()), dependencies, throttling: deps.throttling() };
}

async function probe(clock: Clock, name: string, check: () => Promise<void>) {
  const startedAt = clock.now();
  const late = new AbortController();
  const timeOut = sleep(clock, waitMsMax, late.signal).then(() => {
    if (late.signal.aborted) return;
    throw new ConvoyError('CVY_UNREACHABLE', `${name} did not answer within ${waitMsMax} ms`);
  });
  try {
    await Promise.race([check(), timeOut]);
    return { name, status: 'ok', latencyMs: clock.now() - startedAt };
  } catch (error) {
    const { code, received, remedy } = problemOf(error);
    const latencyMs = clock.now() - startedAt;
    return { name, status: 'failing', latencyMs, code, reason: received, remedy };
  } finally {
    late.abort();
  }
}

/**
 * A ping of the broker: peeking at one message of a queue is a whole round trip, takes nothing and
 * needs no session [SB 11]. The client is kept while it works; a failed one is closed and replaced.
 */
export function createServiceBusPing(address: () => ServiceBusAddress, queue: string) {
  let opening: Promise<Opened> | undefined;
  const open = async (): Promise<Opened> => {
    const retryOptions = { maxRetries: 0, timeoutInMs: pingMsMax };
    const client = await openServiceBusClient(address(), { retryOptions });
    return { client, receiver: client.createReceiver(queue) };
  };
  return async (): Promise<void> => {
    const opened = (opening ??= open());
    try {
      await (await opened).receiver.peekMessages(1);
    } catch (error) {
      if (opening === opened) opening = undefined;
      void closeQuietly(opened);
      throw new ConvoyError('CVY_UNREACHABLE', `queue ${queue} does not answer`, { cause: error });
    }
  };
}

/** What cannot be opened or closed any more needs no second report. */
async function closeQuietly(opened: Promise<Opened>): Promise<void> {
  try {
    await (await opened).client.close();
  } catch {
    // The first failure is the one that counts.
  }
}
