// One seeded scheduler and one virtual clock for everything that happens in a history.
//
// Every call of a port waits here as a *step*; the seed decides whose turn it is. Time is virtual:
// a step takes a millisecond, and when nothing can go on, time moves to the next timer.
//
// Why it is deterministic and fast: between two steps every promise reaction has run, because a
// tick of Node that a reaction asks for comes after all of them. No timer of the machine, no I/O,
// no turn of its loop.
import { Deadlines } from './deadlines.ts';
import type { Random } from './random.ts';

/** Whoever a step or a timer belongs to: with it, they die. */
export interface Owner {
  readonly name: string;
  isAlive: boolean;
  /** It stands still until this instant. */
  frozenUntil: number;
}

/** Where a step stands in the code, such as `store.commit`. */
export interface Step {
  label: string;
  owner: Owner;
  go(): void;
}

export interface SchedulerOptions {
  random: Random;
  startMs: number;
  /** Whether timers may overtake steps that wait: slow steps are a fault too. */
  isPunctual: boolean;
  /** Called before each step that is about to go; may kill its owner. */
  beforeStep(step: Step): void;
}

/** Timers that are due may wait for a step or two; now and then one comes early, as if the steps
 *  were slow. */
const dueTimerFirst = 0.5;
const timerOvertakes = 0.02;
/** The machine's loop gets a turn now and then, so that a worker can be stopped. */
const stepsPerTurn = 50_000;

export class Scheduler {
  /** Milliseconds since the Unix epoch. */
  now: number;
  /** Steps that went. */
  steps = 0;
  /** Of every step so far: equal digests, equal histories. */
  digest = 0;
  readonly #random: Random;
  readonly #waiting: Step[] = [];
  readonly #timers = new Deadlines();
  readonly #beforeStep: (step: Step) => void;
  readonly #overtakes: number;
  #untilTurn = stepsPerTurn;

  constructor(options: SchedulerOptions) {
    this.now = options.startMs;
    this.#random = options.random;
    this.#beforeStep = options.beforeStep;
    this.#overtakes = options.isPunctual ? 0 : timerOvertakes;
  }

  /** The step goes when its turn has come, unless its owner has died. */
  park(step: Step): void {
    this.#waiting.push(step);
  }

  /** A step that resolves or rejects with what `work` returns or throws. */
  turn<Result>(owner: Owner, label: string, work: () => Result): Promise<Result> {
    return new Promise((resolve, reject) => {
      const go = (): void => {
        try {
          resolve(work());
        } catch (error) {
          reject(error);
        }
      };
      this.park({ owner, label, go });
    });
  }

  after(owner: Owner, delayMs: number, callback: () => void): { cancel(): void } {
    const fire = (): void => {
      if (owner.frozenUntil <= this.now) return callback();
      timer = this.#timers.add(owner.frozenUntil, owner, fire);
    };
    let timer = this.#timers.add(this.now + Math.max(0, delayMs), owner, fire);
    return { cancel: () => timer.cancel() };
  }

  /** Resolves `delayMs` from now, unless the owner dies before. */
  sleep(owner: Owner, delayMs: number): Promise<void> {
    return new Promise((resolve) => void this.after(owner, delayMs, resolve));
  }

  /** Goes on until `isOver`, asked before each step, or until nothing is left to do. */
  run(isOver: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const afterReactions = (): void => process.nextTick(tick);
      const tick = (): void => {
        try {
          if (isOver() || !this.#advance()) return resolve();
        } catch (error) {
          return reject(error);
        }
        this.#untilTurn -= 1;
        if (this.#untilTurn > 0) return queueMicrotask(afterReactions);
        this.#untilTurn = stepsPerTurn;
        setImmediate(tick);
      };
      queueMicrotask(afterReactions);
    });
  }

  /** One step or one timer; false when there is neither. */
  #advance(): boolean {
    const random = this.#random;
    const at = this.#timers.earliest();
    if (this.#waiting.length === 0) {
      if (at === undefined) return false;
      this.#fire(at);
    } else if (at !== undefined && at <= this.now && random.chance(dueTimerFirst)) {
      this.#fire(at);
    } else if (at !== undefined && at > this.now && random.chance(this.#overtakes)) {
      this.#fire(at);
    } else this.#go();
    return true;
  }

  #fire(at: number): void {
    this.now = Math.max(this.now, at);
    this.#note(1);
    this.#timers.takeFirst()?.();
  }

  #go(): void {
    const waiting = this.#waiting;
    const index = waiting.length === 1 ? 0 : this.#random.below(waiting.length);
    const step = waiting[index];
    const last = waiting.pop();
    if (step === undefined || last === undefined) return;
    if (last !== step) waiting[index] = last;
    if (!step.owner.isAlive) return;
    this.steps += 1;
    this.now += 1;
    this.#note(index + 2 + 64 * step.label.length + step.label.charCodeAt(step.label.length - 1));
    this.#beforeStep(step);
    const { owner } = step;
    if (!owner.isAlive) return;
    if (owner.frozenUntil <= this.now) return step.go();
    this.after(owner, owner.frozenUntil - this.now, () => this.park(step));
  }

  #note(what: number): void {
    this.digest = (Math.imul(this.digest, 0x01000193) ^ what ^ (this.now % 65_521)) >>> 0;
  }
}
