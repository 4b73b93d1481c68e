// Messages for one key, as a session queue delivers them, and what an observer expects at the end.
import { z } from 'zod';
import { type ConvoyDefinition, defineConvoy } from '../../../shared/convoy/definition.ts';
import type { WindowDefinition } from '../../../shared/convoy/window-definition.ts';
import { isoInstant } from '../../../shared/clock.ts';
import { takeIn } from '../../../shared/engine/intake.ts';
import type { Received } from '../../../shared/envelope.ts';
import { sweep } from '../../../shared/engine/sweep.ts';
import type { Violation } from './scenario.ts';
import type { World } from './world.ts';

export const place = { convoy: 'record', key: 'k' };
export const convoyId = 'record:k';

const schema = z.object({ n: z.number(), outputs: z.number(), pad: z.number() });
export type Body = z.infer<typeof schema>;

export interface RecordOptions {
  lingerSeconds?: number;
  /** Attempts of a message whose handler throws, 20 s apart unless told otherwise. */
  attempts?: number;
  retrySeconds?: number;
  fails?: (id: string) => boolean;
  windows?: WindowDefinition<string[], Body>[];
  onPoison?: 'block' | 'park' | 'park-lane';
  effect?: (id: string) => Promise<void>;
}

/** Its state is the list of ids applied; each message emits `done` as often as its body says. */
export function recording(options: RecordOptions = {}): ConvoyDefinition {
  const { lingerSeconds = 5, attempts = 1, fails, windows = [], effect } = options;
  const firstDelaySeconds = options.retrySeconds ?? 20;
  return defineConvoy({
    name: place.convoy,
    schema,
    initialState: [] as string[],
    lingerSeconds,
    retry: { attempts, firstDelaySeconds, factor: 1, maxDelaySeconds: firstDelaySeconds },
    onPoison: options.onPoison ?? 'block',
    windows,
    ...(effect && {
      effect: (message: { id: string }) => effect(message.id),
      effectSeconds: 300,
    }),
    apply(state, message, context) {
      if (fails?.(message.id)) throw new Error(`cannot ${message.id}`);
      const { outputs, pad } = message.body;
      for (let i = 0; i < outputs; i += 1)
        context.emit('done', { id: message.id, i, pad: '-'.repeat(pad) });
      return [...state, message.id];
    },
  });
}

/** One message of a sender. */
export interface Message {
  id: string;
  /** Its number in the queue. */
  sequence: number;
  body?: Partial<Body>;
  occurredAt?: number;
}

/** As the host hands it to the trigger. */
export function receivedOf({ id, sequence, body, occurredAt }: Message): Received {
  const whole: Body = { n: 1, outputs: 1, pad: 0, ...body };
  const at = isoInstant(occurredAt ?? sequence * 10_000);
  return {
    body: Buffer.from(JSON.stringify(whole)),
    metadata: {
      sessionId: place.key,
      sequenceNumber: sequence,
      enqueuedTime: at,
      applicationProperties: { convoyMessageId: id, occurredAt: at },
    },
  };
}

export interface Traffic {
  sent: string[];
  /** When the broker first delivered it. */
  deliveredAt: Map<string, number>;
  deliveries: number;
  /** Given up by the broker. */
  dead: string[];
  isDone: boolean;
}

export interface TrafficOptions {
  messages: number;
  /** Longest pause between two messages. */
  pauseMsMax?: number;
  /** Probability that the sender sends an earlier id again. */
  repeated?: number;
  /** Probability of a second holder although the lock stands. */
  holders?: number;
  /** Beside id and sequence. */
  more?: (i: number) => Omit<Message, 'id' | 'sequence'>;
  deliveriesMax?: number;
  /** The sender sends each message twice. */
  isTwice?: boolean;
  /** A holder that takes longer loses the session. */
  lockMs?: number;
}

/** A session: the next message is delivered only after this one was settled. */
export function startTraffic(world: World, options: TrafficOptions): Traffic {
  const traffic: Traffic = {
    sent: [],
    deliveredAt: new Map(),
    deliveries: 0,
    dead: [],
    isDone: false,
  };
  void feed(world, options, traffic);
  return traffic;
}

async function feed(world: World, options: TrafficOptions, traffic: Traffic): Promise<void> {
  const { random } = world;
  const { sent } = traffic;
  for (let i = 1; i <= options.messages;) {
    const isRepeat = sent.length > 0 && random.chance(options.repeated ?? 0);
    const sequence = isRepeat ? 1 + random.below(sent.length) : i;
    const message = { id: `m${sequence}`, sequence, ...options.more?.(sequence) };
    if (!isRepeat) {
      sent.push(message.id);
      i += 1;
    }
    await settleOne(world, { options, traffic, message });
    if (options.isTwice) await settleOne(world, { options, traffic, message });
    if (random.chance(0.5)) await world.pause(random.below(options.pauseMsMax ?? 12_000));
  }
  traffic.isDone = true;
}

async function settleOne(
  world: World,
  entry: { options: TrafficOptions; traffic: Traffic; message: Message },
): Promise<void> {
  const { random } = world;
  const { options, traffic, message } = entry;
  const { lockMs = 30_000, deliveriesMax = 10 } = options;
  if (!traffic.deliveredAt.has(message.id))
    traffic.deliveredAt.set(message.id, world.scheduler.clock.now());
  for (let count = 1; ; count += 1) {
    const holders = [deliver(world, message), world.pause(lockMs).then(() => false)];
    if (random.chance(options.holders ?? 0)) holders.push(deliver(world, message));
    traffic.deliveries += holders.length - 1;
    if (await Promise.race(holders)) return;
    if (count === deliveriesMax) {
      traffic.dead.push(message.id);
      return;
    }
    await world.pause(50);
  }
}

/** What the trigger does with a message; true = the host completes it. */
export async function deliver(world: World, message: Message): Promise<boolean> {
  const engine = world.engine();
  const { clock } = engine;
  const received = receivedOf(message);
  try {
    const { convoy } = place;
    await takeIn({ convoy, queue: convoy, received, clock, open: async () => engine });
    return true;
  } catch {
    return false;
  }
}

/** The sweeper's timer. */
export function tick(world: World): void {
  const engine = world.freshEngine();
  void sweep(engine, engine.clock.now() + 25_000).catch(() => undefined);
}

export async function runFor(world: World, ms: number, everyMs = ms): Promise<void> {
  const { scheduler } = world;
  const untilAt = scheduler.clock.now() + ms;
  while (scheduler.clock.now() < untilAt) {
    await scheduler.run(Math.min(untilAt, scheduler.clock.now() + everyMs));
  }
}

const same = (a: readonly string[], b: readonly string[]): boolean => a.join() === b.join();

/** In order, once, nothing lost; everything published, in order; the key at rest. */
export async function judge(world: World, traffic: Traffic): Promise<Violation[]> {
  const { truth, watch, say } = world;
  const { sent } = traffic;
  const { items } = await truth.listMessages(convoyId, { from: 1, limit: 1000 });
  const admitted = items.map(({ messageId }) => messageId);
  if (!same(admitted, sent)) say('lost', `admitted ${admitted.join()}, sent ${sent.join()}`);
  const open = items.filter(({ outcome }) => outcome !== 'applied');
  if (open.length > 0)
    say('lost', `not applied: ${open.map((i) => `${i.messageId} ${i.outcome}`).join()}`);
  const gate = (await truth.readGate(convoyId))?.item;
  const progress = (await truth.readProgress(convoyId))?.item;
  const state = (progress?.state ?? []) as string[];
  if (!same(state, sent)) say('once', `effects ${state.join()}`);
  if (gate?.phase !== 'idle')
    say('ends', `the gate is ${gate?.phase}, hold ${progress?.hold.kind}`);
  const done = world.published.filter(({ output }) => output.type === 'done');
  const published = [...new Set(done.map(({ output }) => output.causationId))];
  if (!same(published, sent)) say('outputs', `published ${published.join()}`);
  const numbers = done.map(({ output }) => output.position * 1_000 + output.n);
  if (numbers.some((number, i) => number < (numbers[i - 1] ?? 0)))
    say('outputs', 'they left out of order');
  if (traffic.dead.length > 0) say('lost', `dead-lettered ${traffic.dead.join()}`);
  if (watch.writes > 2_000) say('ends', `${watch.writes} writes`);
  return violationsOf(world);
}

export function violationsOf({ violations, watch }: World): Violation[] {
  return [...violations, ...watch.wrong];
}

/** Every message is published within so many ms of its first delivery. */
export function judgePrompt(world: World, traffic: Traffic, msMax: number): void {
  for (const { output, at } of world.published) {
    const since = traffic.deliveredAt.get(output.causationId);
    if (since === undefined || output.type !== 'done') continue;
    if (at - since > msMax) world.say('prompt', `${output.causationId} took ${at - since} ms`);
  }
}
