// The course of a history: senders send, timers of the app run, things fail – until everything has
// been sent; then nothing fails any more, people mend what is broken, and all must come to rest.
import { takeDead } from '../../shared/engine/intake.ts';
import { publishRollUps } from '../../shared/engine/roll-up-publish.ts';
import { sweep } from '../../shared/engine/sweep.ts';
import type { CallFault } from './faults.ts';
import type { Host } from './host.ts';
import { receivedOf } from './listener.ts';
import { type SimulatedMessage, keylessSession } from './messages.ts';
import { mend, placeQuarantined } from './people.ts';
import type { World } from './world.ts';
import { crash } from './world-faults.ts';

const sendFaults: readonly CallFault[] = ['sender.repeat', 'sender.ambiguous'];
const sweepEveryMs = 60_000;
const deadLettersEveryMs = 10_000;
const rollUpsEveryMs = 30_000;
const careEveryMs = 45_000;
/** What fails goes on failing for so long after the last message was sent. */
const hostileMs = 60_000;
/** A history that needs more than this does not come to rest. */
const restMsMax = 12 * 3_600_000;
const stepsMaxPerMessage = 400;

export async function play(world: World): Promise<void> {
  const { plot, scheduler } = world;
  const drama = new Drama(world);
  drama.begin();
  const stepsMax = 20_000 + stepsMaxPerMessage * plot.messages.length;
  await scheduler.run(() => drama.isOver || scheduler.steps > stepsMax);
  if (!drama.isOver) {
    const message = `no rest after ${scheduler.steps} steps: ${drama.unrest() ?? 'nothing left'}`;
    world.report({ oracle: 'play', rule: 'liveness', message });
  }
  world.oracles.atEnd();
}

class Drama {
  readonly #world: World;
  #sendersLeft = 0;
  #calmSince: number | undefined;
  isOver = false;

  constructor(world: World) {
    this.#world = world;
  }

  begin(): void {
    const { plot } = this.#world;
    const lines = new Map<string, SimulatedMessage[]>();
    for (const message of plot.messages) {
      const line = lines.get(message.key);
      if (line) line.push(message);
      else lines.set(message.key, [message]);
    }
    this.#sendersLeft = lines.size;
    for (const line of lines.values()) void this.#send(line);
    this.#every(sweepEveryMs, (host) => this.#sweep(host));
    this.#every(deadLettersEveryMs, (host) => this.#takeDead(host));
    this.#every(rollUpsEveryMs, (host) => this.#rollUp(host));
    this.#every(careEveryMs, (host) => this.#care(host));
    if (lines.size === 0) this.#calmLater();
  }

  /** Why it has not come to rest; undefined when it has. */
  unrest(): string | undefined {
    const { input, hub, clouds, oracles } = this.#world;
    if (input.entity.counts.active > 0) return 'messages wait in the queue';
    if (input.deadLetters.counts.active > 0) return 'dead letters wait in the queue';
    if (hub.running > 0) return 'an instance runs';
    for (const key of oracles.keys) {
      const convoyId = this.#world.convoyIdOf(key);
      const gate = clouds.cosmos.latest(convoyId, 'gate', 'gate');
      const progress = clouds.cosmos.latest(convoyId, 'progress', 'progress');
      if (!gate || !progress) continue;
      const { hold, asideCount } = progress;
      if (gate.phase !== 'idle' || hold.kind !== 'none' || asideCount > 0 || gate.dueAt !== null) {
        return `'${key}' is ${gate.phase}, hold ${hold.kind} ${hold.code ?? ''}, due ${gate.dueAt}`;
      }
      const partition = clouds.cosmos.partition(convoyId);
      const at = { kind: 'dead' as const, version: partition.version };
      const dead = clouds.cosmos.all(partition, at);
      if (dead.some(({ replayedAt }) => replayedAt === undefined))
        return `'${key}' has dead letters`;
    }
    const heads = clouds.windows.heads(clouds.windows.writes);
    if (heads.some(({ dueAt }) => dueAt !== null)) return 'a roll-up is due';
    return this.#hasQuarantined() ? 'a message is in quarantine' : undefined;
  }

  /** One sender per key: in order, each message again until the broker has taken it. */
  async #send(line: readonly SimulatedMessage[]): Promise<void> {
    const { scheduler, azure } = this.#world;
    const startedAt = scheduler.now;
    for (const [n, message] of line.entries()) {
      const waitMs = startedAt + message.sendAt - scheduler.now;
      if (waitMs > 0) await scheduler.sleep(azure, waitMs);
      await this.#sendOne(message, line.slice(0, n));
    }
    this.#sendersLeft -= 1;
    if (this.#sendersLeft === 0) this.#calmLater();
  }

  #sendOne(message: SimulatedMessage, before: readonly SimulatedMessage[]): Promise<void> {
    const { scheduler, faults, azure } = this.#world;
    return scheduler.turn(azure, 'sender.send', () => {
      this.#enqueue(message);
      const fault = faults.at(sendFaults);
      // It does not know that the broker has it, or sends an older one again.
      if (fault?.kind === 'sender.ambiguous') this.#enqueue(message);
      const older = before[Math.floor((fault?.value ?? 0) * before.length)];
      if (fault?.kind === 'sender.repeat' && older) this.#enqueue(older);
    });
  }

  #enqueue(message: SimulatedMessage): void {
    const { input, oracles, trace } = this.#world;
    const { key } = message;
    const sent = { key, message };
    const sessionId = key === '' ? keylessSession : key;
    const [sequence = 0] = input.send([{ sessionId, messageId: message.id, payload: sent }]);
    trace?.note({ actor: 'senders', what: 'sent', key, detail: `'${message.id}'` });
    oracles.sent(sent, sequence);
  }

  #calmLater(): void {
    const { scheduler, azure } = this.#world;
    scheduler.after(azure, hostileMs, () => this.#calm());
  }

  /** From here on nothing fails: finitely many faults, so everything must come out. */
  #calm(): void {
    const { faults, plot, alive, trace, scheduler } = this.#world;
    faults.isCalm = true;
    this.#calmSince = scheduler.now;
    plot.mend();
    trace?.note({ actor: 'people', what: 'everything is mended' });
    const latest = plot.versions.length - 1;
    this.#world.deployed = latest;
    for (const host of alive) {
      if (host.version === latest) continue;
      crash(this.#world, host, { label: 'deployment', value: 0.05, version: latest });
    }
  }

  #every(periodMs: number, work: (host: Host) => Promise<unknown> | undefined): void {
    const { scheduler, azure } = this.#world;
    const tick = (): void => {
      scheduler.after(azure, periodMs, tick);
      const host = this.#world.someHost();
      if (host && host.frozenUntil <= scheduler.now) work(host)?.catch(() => undefined);
    };
    scheduler.after(azure, this.#world.random.below(periodMs), tick);
  }

  #sweep({ freshEngine }: Host): Promise<unknown> {
    this.#look();
    return sweep(freshEngine, freshEngine.clock.now() + 25_000);
  }

  /** Whether it is over; and whether it should have been. */
  #look(): void {
    const { scheduler } = this.#world;
    const since = this.#calmSince;
    if (since === undefined) return;
    const unrest = this.unrest();
    if (unrest === undefined) this.isOver = true;
    else if (scheduler.now > since + restMsMax) {
      const message = `no rest after 12 hours without faults: ${unrest}`;
      this.#world.report({ oracle: 'play', rule: 'liveness', message });
      this.isOver = true;
    }
  }

  /** As the timer of the app does it: one letter after the other, completed when recorded. */
  #takeDead(host: Host): Promise<unknown> | undefined {
    const { input, scheduler, convoy } = this.#world;
    if (input.deadLetters.counts.active === 0) return undefined;
    const { deadLetters } = input;
    const takeAll = async (): Promise<void> => {
      for (;;) {
        const locked = await scheduler.turn(host, 'broker.receiveDead', () => {
          const entry = deadLetters.head(deadLetters.line, scheduler.now);
          return entry && deadLetters.lock(deadLetters.line, entry, scheduler.now);
        });
        const sent = locked && input.payloadOf(locked.entry);
        if (!locked || !sent) return;
        const received = receivedOf(sent, locked.entry);
        await takeDead(host.engine, { convoy, received, reason: 'MaxDeliveryCountExceeded' });
        await scheduler.turn(host, 'broker.settleDead', () => deadLetters.complete(locked));
      }
    };
    return takeAll();
  }

  #rollUp({ engine }: Host): Promise<unknown> | undefined {
    if (this.#world.clouds.windows.writes === 0) return undefined;
    return publishRollUps(engine, engine.clock.now() + 25_000);
  }

  /** The operator's round: only once nothing fails any more. */
  #care(host: Host): Promise<unknown> | undefined {
    if (this.#calmSince === undefined) return undefined;
    const world = this.#world;
    const round = async (): Promise<void> => {
      const [first] = world.oracles.keys;
      if (first !== undefined && this.#hasQuarantined()) await placeQuarantined(world, host, first);
      for (const key of world.oracles.keys) {
        await mend(world, host, key).catch(() => undefined); // refused: again in the next round
      }
    };
    return round();
  }

  #hasQuarantined(): boolean {
    const { cosmos } = this.#world.clouds;
    const partition = cosmos.partition(this.#world.convoyIdOf(''));
    const items = cosmos.all(partition, { kind: 'quarantine', version: partition.version });
    return items.some(({ replayedAt }) => replayedAt === undefined);
  }
}
