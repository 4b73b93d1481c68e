// What disturbs the soak all the time: faults of the cloud by its fault ports, an operator who
// pauses and heals, and, where asked for, `kill -9`.
import { setTimeout as pause } from 'node:timers/promises';
import type { Fleet } from '../crash/fleet.ts';
import { Api } from '../support/doors.ts';
import type { Prng } from '../support/prng.ts';

/** A share of all steps, and of all requests. */
const brokerRules = [
  { fault: 'doubled', queue: 'orders', probability: 0.01 },
  { fault: 'doubled', queue: 'meter', probability: 0.01 },
  { fault: 'throttled', kinds: ['send'], probability: 0.002 },
  { fault: 'refused', kinds: ['settle'], probability: 0.004 },
  { fault: 'refused', kinds: ['deliver'], probability: 0.0005 },
  { fault: 'slow', kinds: ['accept', 'settle'], probability: 0.005, delayMs: 200 },
];
const cosmosRules = [
  { fault: 'throttled', probability: 0.004 },
  { fault: 'unavailable', probability: 0.002 },
  { fault: 'timedOut', isApplied: true, probability: 0.002 },
  { fault: 'retryWith', probability: 0.001 },
  { fault: 'reset', isApplied: true, probability: 0.001 },
  { fault: 'silent', isApplied: true, probability: 0.0001, delayMs: 3_000 },
  { fault: 'slow', probability: 0.01, delayMs: 150 },
];
const deedEveryMs = 2_000;
const operatorEveryMs = 1_500;
const pauseForMs = 1_500;
const killEveryMs = 20_000;

export interface DisturbanceOptions {
  fleet: Fleet;
  random: Prng;
  meters: readonly string[];
  kills: boolean;
}

export class Disturbance {
  readonly #options: DisturbanceOptions;
  readonly #api: Api;
  /** How often what was done. */
  readonly counts = new Map<string, number>();
  #isOver = false;
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: DisturbanceOptions) {
    this.#options = options;
    this.#api = new Api(options.fleet.url);
  }

  async start(): Promise<void> {
    await this.#addRules();
    const loops = [
      this.#every(deedEveryMs, () => this.#disturbClients()),
      this.#every(operatorEveryMs, () => this.#operate()),
      ...(this.#options.kills ? [this.#every(killEveryMs, () => this.#kill())] : []),
    ];
    this.#running = Promise.all(loops);
  }

  /** Takes the faults back; an operator looks after what is held until `end`. */
  async calm(): Promise<void> {
    this.#isOver = true;
    await this.#running;
    const { broker, cosmos } = this.#options.fleet.faultUrls;
    await this.#countFaults();
    for (const url of [broker, cosmos]) await fetch(url, { method: 'DELETE' });
  }

  /** Retries what is blocked, resumes what is paused; how many keys there were. */
  async heal(): Promise<number> {
    const held = await this.#api.list<{ key: string; status?: string; hold: { kind: string } }>(
      '/convoys?convoy=meter&status=held',
    );
    for (const { key, hold } of held) {
      await this.#act(key, hold.kind === 'paused' ? 'resume' : 'retry');
    }
    return held.length;
  }

  async #every(ms: number, act: () => Promise<void>): Promise<void> {
    while (!this.#isOver) {
      await pause(ms);
      // Who disturbs is disturbed, too: the next turn comes.
      if (!this.#isOver) await act().catch(() => this.#count('of these failed'));
    }
  }

  #count(what: string, by = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + by);
  }

  async #post(url: string, body: object): Promise<void> {
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
    const text = await response.text();
    if (!response.ok) throw new Error(`${url}: ${response.status} ${text}`);
  }

  async #addRules(): Promise<void> {
    const { broker, cosmos } = this.#options.fleet.faultUrls;
    for (const rule of brokerRules) await this.#post(broker, rule);
    for (const rule of cosmosRules) await this.#post(cosmos, rule);
  }

  async #countFaults(): Promise<void> {
    const { broker, cosmos } = this.#options.fleet.faultUrls;
    for (const [name, url] of Object.entries({ broker, cosmos })) {
      const response = await fetch(url);
      const rules = (await response.json()) as { rule: { fault: string }; met: number }[];
      for (const { rule, met } of rules) this.#count(`${name} ${rule.fault}`, met);
    }
  }

  async #disturbClients(): Promise<void> {
    const { fleet, random, meters } = this.#options;
    const { broker } = fleet.faultUrls;
    const deed = random.below(8);
    if (deed === 0) {
      await this.#post(`${broker}/drop-connections`, {});
      this.#count('connections dropped');
    } else if (deed < 3) {
      const queue = ['orders', 'meter', 'orders-out', 'meter-out'][random.below(4)] ?? 'meter';
      await this.#post(`${broker}/detach-links`, { queue });
      this.#count('links detached');
    } else {
      const sessionId = meters[random.below(meters.length)] ?? '';
      await this.#post(`${broker}/lose-session-lock`, { queue: 'meter', sessionId });
      this.#count('session locks lost');
    }
  }

  async #operate(): Promise<void> {
    const { random, meters } = this.#options;
    const key = meters[random.below(meters.length)] ?? '';
    await this.#act(key, 'pause');
    await pause(pauseForMs);
    await this.heal();
  }

  async #act(key: string, action: 'pause' | 'resume' | 'retry'): Promise<void> {
    const headers = { 'content-type': 'application/json' };
    const body = JSON.stringify({ reason: 'soak', by: 'soak' });
    const path = `/convoys/meter/${key}/${action}`;
    const { status } = await this.#api.call('POST', path, { headers, body });
    this.#count(`${action}: ${status}`);
  }

  async #kill(): Promise<void> {
    const { fleet, random } = this.#options;
    const victim = random.chance(0.3) ? 'cloud' : 'host';
    const pid = fleet.pidOf(victim);
    if (pid === undefined) return;
    if (victim === 'cloud') await this.#countFaults();
    process.kill(pid, 'SIGKILL');
    this.#count(`${victim} killed`);
    await fleet.healthy();
    if (victim === 'cloud') await this.#addRules();
  }
}
