// Faults on demand: what Azure does to clients now and then, done to those of a test.
//
// Owns:    which step meets which fault: by kind, place, count, rate, chance.
// Leaves:  how a step is refused to link.ts, listener.ts and requests.ts, remote control to
//          fault-port.ts.
//
// Off unless rules are given. Chance comes from the seed: the same seed and the same sequence of
// steps give the same faults. Waiting is by the clock of the broker.
import { sleep } from '../../../shared/clock.ts';
import type { Clock } from '../../../shared/clock.ts';
import { Refusal, refusals } from './conditions.ts';
import type { BrokerStep } from './step.ts';

export const faultNames = ['throttled', 'refused', 'slow', 'doubled'] as const;
export const stepKinds = ['send', 'deliver', 'settle', 'accept', 'renew', 'manage'] as const;

/**
 * `throttled` = com.microsoft:server-busy, `refused` = `condition` (default amqp:internal-error),
 * `slow` = made `delayMs` (default 1 s) later, `doubled` = a message that is sent is stored twice,
 * as after a retry whose first attempt had arrived. A refused delivery detaches its link.
 */
export type FaultName = (typeof faultNames)[number];

export interface FaultRule {
  fault: FaultName;
  /** Which steps; what is left out is any. */
  kinds?: readonly BrokerStep['kind'][];
  /** The path of a queue or subscription. */
  queue?: string;
  sessionId?: string;
  messageId?: string;
  /** Of the steps that fit: the first one to meet the fault, 1 by default, … */
  from?: number;
  /** … and how many meet it; for ever by default. */
  times?: number;
  /** Of those, the share that meets it, 0..1; 1 by default. */
  probability?: number;
  /** So many steps a second pass before it is met. */
  perSecond?: number;
  delayMs?: number;
  condition?: string;
}

interface Listed {
  rule: FaultRule;
  number: number;
  /** How many steps fitted, and how many met the fault. */
  fitted: number;
  met: number;
  second: { startsAt: number; passed: number };
}

export class Faults {
  private readonly clock: Clock;
  private readonly listed: Listed[] = [];
  private lastNumber = 0;
  private seed: number;

  constructor(clock: Clock, seed = 1) {
    this.clock = clock;
    this.seed = seed;
  }

  get isQuiet(): boolean {
    return this.listed.length === 0;
  }

  /** Returns the number by which the rule can be removed. */
  add(rule: FaultRule): number {
    const number = ++this.lastNumber;
    const second = { startsAt: 0, passed: 0 };
    this.listed.push({ rule: { ...rule }, number, fitted: 0, met: 0, second });
    return number;
  }

  remove(number: number): void {
    const at = this.listed.findIndex((listed) => listed.number === number);
    if (at >= 0) this.listed.splice(at, 1);
  }

  clear(): void {
    this.listed.length = 0;
  }

  list(): { number: number; rule: FaultRule; met: number }[] {
    return this.listed.map(({ number, rule, met }) => ({ number, rule, met }));
  }

  /** Throws, or waits, when a rule says so; the first rule that is met decides. */
  beforeStep(step: BrokerStep): Promise<void> | undefined {
    const rule = this.meet(step, (fault) => fault !== 'doubled');
    switch (rule?.fault) {
      case 'throttled':
        throw refusals.serverBusy();
      case 'refused':
        throw new Refusal(rule.condition ?? 'amqp:internal-error', 'Refused by a test.');
      case 'slow':
        return sleep(this.clock, rule.delayMs ?? 1_000);
      case 'doubled':
      case undefined:
        return undefined;
    }
  }

  /** Whether a message that is sent shall be stored twice. */
  doubles(step: BrokerStep): boolean {
    return this.meet(step, (fault) => fault === 'doubled') !== undefined;
  }

  private meet(step: BrokerStep, wants: (fault: FaultName) => boolean): FaultRule | undefined {
    return this.listed.find((listed) => wants(listed.rule.fault) && this.isMet(listed, step))?.rule;
  }

  private isMet(listed: Listed, step: BrokerStep): boolean {
    const { rule } = listed;
    if (!fits(rule, step)) return false;
    listed.fitted++;
    if (listed.fitted < (rule.from ?? 1) || listed.met >= (rule.times ?? Infinity)) return false;
    if (this.passes(listed)) return false;
    if (rule.probability !== undefined && this.chance() >= rule.probability) return false;
    listed.met++;
    return true;
  }

  private passes({ rule, second }: Listed): boolean {
    if (rule.perSecond === undefined) return false;
    const now = this.clock.now();
    if (now - second.startsAt >= 1_000) Object.assign(second, { startsAt: now, passed: 0 });
    return ++second.passed <= rule.perSecond;
  }

  /** A linear congruence: enough to spread faults, and repeatable. */
  private chance(): number {
    this.seed = (Math.imul(this.seed, 1_664_525) + 1_013_904_223) >>> 0;
    return this.seed / 2 ** 32;
  }
}

function fits({ kinds, queue, sessionId, messageId }: FaultRule, step: BrokerStep): boolean {
  return (
    (kinds === undefined || kinds.includes(step.kind)) &&
    (queue === undefined || queue.toLowerCase() === step.queue.toLowerCase()) &&
    (sessionId === undefined || sessionId === step.sessionId) &&
    (messageId === undefined || messageId === step.messageId)
  );
}
