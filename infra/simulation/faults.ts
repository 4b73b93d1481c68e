// What goes wrong, and when. At every step the seed may choose a fault that fits the place; the
// faults that happened make a plan, and a plan can be handed back in instead of the rates: so a
// failing history can be repeated with fewer of them.
import type { Coverage } from './coverage.ts';
import type { Random } from './random.ts';

/** Faults of the world: they come before a step, wherever it stands. */
export const worldFaults = [
  /** A host process dies with all its tasks; another one starts in its place. */
  'host.crash',
  /** A host process stands still and goes on later, as after SIGSTOP. */
  'host.freeze',
  /** The clock of one host jumps, forward or back. */
  'host.clockJump',
  /** A host comes back with the next version of the definition, or with one that lacks it. */
  'host.deploy',
  'host.forgetDefinition',
  'broker.lockLost',
  'hub.terminate',
  'hub.purge',
  /** A finished instance is started again by the platform or an operator. */
  'hub.rerun',
  /** A person does something with a key; `value` says what. */
  'operator.act',
  /** The sweeper runs beside its own run. */
  'sweep.extra',
] as const;

/** Faults of one call. */
export const callFaults = [
  'sender.repeat',
  'sender.ambiguous',
  'broker.renewFails',
  'broker.settleLost',
  'broker.settleAmbiguous',
  'hub.startFails',
  'hub.startAmbiguous',
  'hub.startSlow',
  'hub.wakeLost',
  'hub.wakeDoubled',
  'hub.wakeLate',
  'hub.wakeFails',
  'hub.replay',
  'hub.episodeLate',
  'hub.eventsDropped',
  'hub.activityFails',
  'hub.activityDoubled',
  'hub.activityRepeated',
  'hub.resultLost',
  'store.throttled',
  'store.timeout',
  'store.timeoutApplied',
  'store.slow',
  'store.slowAnswer',
  'store.stale',
  'publisher.refused',
  'publisher.ambiguous',
  'publisher.partly',
  'publisher.slow',
] as const;

export type WorldFault = (typeof worldFaults)[number];
export type CallFault = (typeof callFaults)[number];
export type FaultKind = WorldFault | CallFault;
/** Probability per opportunity; what is left out does not happen. */
export type Rates = Readonly<Partial<Record<FaultKind, number>>>;

export interface Fault {
  /** Number of the step. */
  step: number;
  kind: FaultKind;
  /** 0 <= value < 1: which, how much, how long. */
  value: number;
}

/** The faults of one history, in order. */
export type FaultPlan = readonly Fault[];

interface Table {
  total: number;
  kinds: FaultKind[];
  upTo: number[];
}

export interface FaultsOptions {
  random: Random;
  rates: Rates;
  /** Instead of the rates. */
  plan?: FaultPlan | undefined;
  coverage: Coverage;
  /** Number of the step that goes. */
  step(): number;
}

export class Faults {
  /** Nothing fails any more. */
  isCalm = false;
  readonly happened: Fault[] = [];
  readonly #options: FaultsOptions;
  readonly #tables = new Map<readonly FaultKind[], Table>();
  readonly #planned = new Map<number, Fault[]>();

  constructor(options: FaultsOptions) {
    this.#options = options;
    for (const fault of options.plan ?? []) {
      const others = this.#planned.get(fault.step);
      if (others) others.push(fault);
      else this.#planned.set(fault.step, [fault]);
    }
  }

  /** The fault of this place at this step, one of `kinds`. */
  at(kinds: readonly FaultKind[]): Fault | undefined {
    const fault = this.#options.plan ? this.#next(kinds) : this.#drawn(kinds);
    if (fault === undefined) return undefined;
    this.happened.push(fault);
    this.#options.coverage.count(`fault:${fault.kind}`);
    return fault;
  }

  #next(kinds: readonly FaultKind[]): Fault | undefined {
    const planned = this.#planned.get(this.#options.step());
    const index = planned?.findIndex(({ kind }) => kinds.includes(kind)) ?? -1;
    return index < 0 ? undefined : planned?.splice(index, 1)[0];
  }

  #drawn(kinds: readonly FaultKind[]): Fault | undefined {
    if (this.isCalm) return undefined;
    const { random } = this.#options;
    const table = this.#tables.get(kinds) ?? this.#tableOf(kinds);
    const drawn = random.next();
    if (drawn >= table.total) return undefined;
    const kind = table.kinds[table.upTo.findIndex((upTo) => drawn < upTo)];
    return kind && { step: this.#options.step(), kind, value: random.next() };
  }

  #tableOf(kinds: readonly FaultKind[]): Table {
    const table: Table = { total: 0, kinds: [], upTo: [] };
    for (const kind of kinds) {
      const rate = this.#options.rates[kind] ?? 0;
      if (rate === 0) continue;
      table.total += rate;
      table.kinds.push(kind);
      table.upTo.push(table.total);
    }
    this.#tables.set(kinds, table);
    return table;
  }
}
