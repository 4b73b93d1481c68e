// Everything of one history: broker, store and hub as Azure has them, and the hosts that come and
// go in front of them.
import type { ConvoyDefinition } from '../../shared/convoy/definition.ts';
import { drain } from '../../shared/engine/drain.ts';
import type { DrainRequest } from '../../shared/engine/drain-context.ts';
import type { Lane } from '../local/broker/lane.ts';
import { Cosmos } from './cosmos.ts';
import { Coverage } from './coverage.ts';
import { type Fault, type FaultPlan, Faults, type Rates, worldFaults } from './faults.ts';
import { Host, type SessionHolder } from './host.ts';
import { Hub, HubUnavailable } from './hub.ts';
import { listen } from './listener.ts';
import type { SentMessage } from './messages.ts';
import { observed } from './observed.ts';
import { Oracles } from './oracles/all.ts';
import type { Orchestrator } from './orchestration.ts';
import type { Published } from './publisher-port.ts';
import { Queue } from './queue.ts';
import { Random } from './random.ts';
import type { Plot, Scenario } from './scenario.ts';
import { type Owner, Scheduler, type Step } from './scheduler.ts';
import type { Clouds } from './store-port.ts';
import type { Trace } from './trace.ts';
import type { Violation } from './violations.ts';
import { WindowsContainer } from './windows.ts';
import { happen } from './world-faults.ts';

export interface WorldOptions {
  seed: number;
  scenario: Scenario;
  plot: Plot;
  orchestrator: Orchestrator;
  rates: Rates;
  plan?: FaultPlan | undefined;
  trace?: Trace | undefined;
}

const startMs = Date.UTC(2026, 0, 1);
const violationsMax = 20;
const slotsPerHost = 3;

export class World {
  readonly scenario: Scenario;
  readonly plot: Plot;
  readonly convoy: string;
  readonly scheduler: Scheduler;
  readonly faults: Faults;
  readonly coverage = new Coverage();
  readonly trace: Trace | undefined;
  readonly clouds: Clouds;
  readonly input: Queue<SentMessage>;
  readonly hub: Hub;
  readonly oracles: Oracles;
  readonly hosts: Host[] = [];
  readonly violations: Violation[] = [];
  readonly lockMs = 60_000;
  /** Azure itself: it never dies. */
  readonly azure: Owner = { name: 'azure', isAlive: true, frozenUntil: 0 };
  /** Choices that are no faults: which host, how many. */
  readonly random: Random;
  /** Which of the definition's versions is deployed last. */
  deployed = 0;
  readonly #versions: readonly ConvoyDefinition[];
  readonly #output: Queue<Published>;
  #processes = 0;

  constructor(options: WorldOptions) {
    const { seed, scenario, plot, trace } = options;
    this.scenario = scenario;
    this.plot = plot;
    this.trace = trace;
    this.convoy = plot.versions[0].name;
    this.#versions = plot.versions.map(observed);
    this.random = new Random(seed, 1);
    this.scheduler = new Scheduler({
      random: new Random(seed, 2),
      startMs,
      isPunctual: scenario.isSmooth === true,
      beforeStep: (step) => this.#beforeStep(step),
    });
    const { coverage } = this;
    const step = (): number => this.scheduler.steps;
    const random = new Random(seed, 3);
    const { rates, plan } = options;
    this.faults = new Faults({ random, rates, plan, coverage, step });
    const now = (): number => this.scheduler.now;
    const cosmos = new Cosmos({
      now,
      isOnWire: seed % 16 === 0,
      onBatch: (written) => {
        this.oracles.written(written, now());
        trace?.batch(written);
      },
    });
    this.clouds = { cosmos, windows: new WindowsContainer() };
    this.input = this.#queue(scenario);
    this.#output = this.#outputQueue();
    this.hub = this.#hub(options.orchestrator);
    this.oracles = new Oracles({
      report: (violation) => this.report(violation),
      coverage,
      cosmos,
      scenario,
      plot,
      convoyIdOf: (key) => this.convoyIdOf(key),
      hub: this.hub.counts,
    });
    const hosts = this.random.between(2, 3);
    for (let n = 0; n < hosts; n += 1) this.boot(n, 0);
  }

  convoyIdOf(key: string): string {
    return `${this.convoy}:${key}`;
  }

  report(violation: Omit<Violation, 'step'>): void {
    if (this.violations.length >= violationsMax) return;
    const { steps } = this.scheduler;
    this.trace?.note({ actor: 'oracle', what: 'violation', detail: violation.message });
    this.violations.push({ ...violation, step: steps });
  }

  /** A new process in this place, with the definition of the version that is deployed there. */
  boot(place: number, version: number | undefined): Host {
    const definition = version === undefined ? undefined : this.#versions[version];
    const host = new Host({
      name: `host${place}.${(this.#processes += 1)}`,
      world: this,
      definition,
      version,
      clockOffsetMs: this.hosts[place]?.clockOffsetMs ?? 0,
      limits: this.plot.limits,
      messagesPerCommit: this.plot.messagesPerCommit,
      convoysMax: this.random.chance(0.2) ? 1 : 5_000,
    });
    this.hosts[place] = host;
    this.trace?.note({ actor: host.name, what: 'starts' });
    // A host without the definition has no trigger for its queue.
    for (let slot = 0; definition && slot < slotsPerHost; slot += 1) void listen(this, host);
    return host;
  }

  get alive(): Host[] {
    return this.hosts.filter(({ isAlive }) => isAlive);
  }

  /** Some host that lives; undefined when none does. */
  someHost(): Host | undefined {
    const { alive } = this;
    return alive[this.random.below(alive.length)];
  }

  /** An output queue takes a batch, whole. */
  accept(messages: readonly Published[]): void {
    const sequences = this.#output.send(messages.map((payload) => ({ ...payload, payload })));
    messages.forEach((message, n) => {
      this.oracles.published(message, sequences[n] !== 0);
      this.trace?.published(message, sequences[n] !== 0);
    });
  }

  #beforeStep(step: Step): void {
    const fault = this.faults.at(worldFaults);
    if (fault) this.#happen(fault, step);
    this.trace?.step(step);
  }

  #happen(fault: Fault, step: Step): void {
    const { name } = step.owner;
    happen(this, fault, { label: step.label, host: this.alive.find((one) => one.name === name) });
  }

  #queue({ maxDeliveryCount = 10 }: Scenario): Queue<SentMessage> {
    const { scheduler, azure } = this;
    const queue: Queue<SentMessage> = new Queue({
      path: this.convoy,
      scheduler,
      owner: azure,
      properties: {
        requiresSession: true,
        lockDurationSeconds: this.lockMs / 1000,
        maxDeliveryCount,
        deadLetterOnExpiration: false,
      },
      onWake: (lane) => {
        for (const { sessions } of this.alive) {
          for (const [holder, held] of sessions) if (held === lane) holder.woken?.();
        }
      },
      onSessionLost: (lane, holder) => this.#sessionLost(lane, holder),
      onDead: (sent) => {
        this.coverage.count('broker:deadLettered');
        this.oracles.dead(sent);
      },
    });
    return queue;
  }

  #sessionLost(lane: Lane, holder: object): void {
    this.oracles.lost(lane, holder);
    this.coverage.count('broker:sessionLost');
    const held = holder as SessionHolder; // whatever holds a session here is one of ours
    held.isLost = true;
    held.woken?.();
  }

  #outputQueue(): Queue<Published> {
    const { scheduler, azure } = this;
    return new Queue({
      path: `${this.convoy}-out`,
      scheduler,
      owner: azure,
      properties: {
        requiresSession: true,
        lockDurationSeconds: 60,
        maxDeliveryCount: 10,
        deadLetterOnExpiration: false,
        duplicateDetectionSeconds: 600,
      },
    });
  }

  #hub(orchestrator: Orchestrator): Hub {
    return new Hub({
      world: this,
      orchestrator,
      owner: this.azure,
      runActivity: (request) => {
        const host = this.someHost();
        if (!host) return { host: this.azure, done: Promise.reject(new HubUnavailable('no host')) };
        const { engine } = host;
        // The edge where a durable input becomes a request again.
        return { host, done: drain(engine, request as DrainRequest) };
      },
      onFailure: ({ key }, error) => {
        const message = error instanceof Error ? error.message : String(error);
        this.report({ oracle: 'hub', rule: 'H7', message, key });
      },
    });
  }
}
