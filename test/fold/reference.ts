// The pure fold of a convoy definition over the messages of one key: naive, one message after the
// other, no batches, no transactions, no clock but the instants it is told. Written from DESIGN
// §4-5, CONTRACT and README, not from shared/convoy, of which only types are used.
//
// What depends on timing is said explicitly: `silence` is a stretch of time in which nothing comes,
// long enough for every gap, quiet time and expiry that lies within it; `act` is an operator who
// acts when everything has come to rest. Between two of those, how messages are fed is of no
// consequence.
import type { ConvoyDefinition, Message } from '../../shared/convoy/definition.ts';
import { type Counts, noCounts } from '../../shared/convoy/state.ts';
import { bodyOf, call, copied, messageOf, migrated } from './reference-call.ts';
import {
  type RefAction,
  type RefHold,
  type RefMessage,
  type RefOptions,
  type RefOutput,
  type RefSettlement,
  type Source,
  may,
} from './reference-types.ts';
import { type WindowOutput, Windows } from './reference-windows.ts';

const none: RefHold = { kind: 'none' };
/** Outputs of a message that settles out of line are numbered apart from the cursor's. */
const outOfLine = 1_000_000;
const transactionBytes = 1_500_000;

export class Fold {
  definition: ConvoyDefinition;
  readonly key: string;
  now: number;
  state: unknown;
  stateVersion: number;
  hold: RefHold = none;
  cursor = 0;
  waiting: number[] = [];
  lane: { position: number; code: string } | null = null;
  parked: number[] = [];
  healing: number[] = [];
  nextSender = 1;
  completedAt: number | null = null;
  counts: Counts = { ...noCounts };
  windows: Windows;
  readonly settlements: RefSettlement[] = [];
  readonly outputs: RefOutput[] = [];
  readonly admitted: RefMessage[] = [];
  repeats = 0;
  readonly #effect: RefOptions['effect'];
  readonly #parkedMax: number;
  readonly #known = new Map<string, { settledAt: number | null }>();
  #verdict: { position: number; as: 'skip' | 'park' } | null = null;
  /** The next number of an output in line. */
  #n = 0;
  #lastAdmittedAt = 0;
  /** Since when everything has been taken and the senderPosition `next` is missing. */
  #gap: { next: number; since: number } | null = null;

  constructor({ definition, key, now, effect, parkedMax = 1_000 }: RefOptions) {
    this.definition = definition;
    this.key = key;
    this.now = now;
    this.#effect = effect;
    this.#parkedMax = parkedMax;
    this.state = definition.initialState;
    this.stateVersion = definition.version;
    this.windows = new Windows({ convoy: definition.name, key });
  }

  /** Admission: each id once, as long as it is remembered. */
  send(message: RefMessage): void {
    const known = this.#known.get(message.messageId);
    const keptMs = this.definition.dedupSeconds * 1000;
    const isForgotten = known && known.settledAt !== null && this.now - known.settledAt >= keptMs;
    const isLast = this.admitted.at(-1)?.messageId === message.messageId;
    if (known && (!isForgotten || isLast)) {
      this.repeats += 1;
      return;
    }
    this.admitted.push(message);
    this.#known.set(message.messageId, { settledAt: null });
    this.#lastAdmittedAt = this.now;
  }

  /** Settles everything that can settle. */
  run(): void {
    if (this.hold.kind === 'none') this.#closeDue();
    while (this.hold.kind === 'none' && (this.#one() || this.#overdue()));
  }

  /** A gap that has been waited for long enough, and was left open by a pause or a cancellation. */
  #overdue(): boolean {
    if (!this.#isGap()) this.#gap = null;
    else if (this.#gap?.next !== this.nextSender)
      this.#gap = { next: this.nextSender, since: this.now };
    const waitMs = this.definition.gap.waitSeconds * 1000;
    return this.#gap !== null && this.now - this.#gap.since >= waitMs && this.#gapTimeout();
  }

  #isGap(): boolean {
    const [first] = this.waiting;
    return first !== undefined && this.lane === null && !this.#isFree(first);
  }

  /** One step; false when there is nothing to do. */
  #one(): boolean {
    const [heal] = this.healing;
    if (heal !== undefined) return this.#settle(heal, 'parked');
    const [first] = this.waiting;
    if (first !== undefined && this.#isFree(first)) return this.#settle(first, 'taken');
    const position = this.cursor + 1;
    const message = this.admitted[position - 1];
    if (message === undefined) return false;
    if (this.definition.order === 'sender') return this.#bySender(position, message.senderPosition);
    if (this.lane === null) return this.#settle(position, 'run');
    return this.waiting.length >= this.#parkedMax ? this.#full() : this.#take(position);
  }

  #isFree(position: number): boolean {
    if (this.lane !== null) return false;
    return this.definition.order === 'broker' || this.#senderOf(position) <= this.nextSender;
  }

  #senderOf(position: number): number {
    return this.admitted[position - 1]?.senderPosition ?? 0;
  }

  #bySender(position: number, senderPosition: number | undefined): boolean {
    const refused = { position, source: 'run' as const, attempts: 1 };
    if (senderPosition === undefined)
      return this.#record({ ...refused, outcome: 'invalid', code: 'CVY_SENDER_POSITION' });
    const isWaiting = this.waiting.some((other) => this.#senderOf(other) === senderPosition);
    if (senderPosition < this.nextSender || isWaiting)
      return this.#record({ ...refused, outcome: 'skipped', code: 'CVY_STALE' });
    if (senderPosition === this.nextSender && this.lane === null)
      return this.#settle(position, 'run');
    const max = this.lane === null ? this.definition.gap.messagesMax : this.#parkedMax;
    return this.waiting.length >= max ? this.#full() : this.#take(position);
  }

  #take(position: number): boolean {
    this.waiting.push(position);
    if (this.definition.order === 'sender')
      this.waiting.sort((a, b) => this.#senderOf(a) - this.#senderOf(b) || a - b);
    this.#moveTo(position);
    return true;
  }

  #moveTo(position: number): void {
    this.cursor = position;
    this.#n = 0;
  }

  /** No more may wait: the gap's own policy at once, or, behind a parked lane, a stop. */
  #full(): boolean {
    const { lane } = this;
    if (lane === null) return this.#gapTimeout();
    this.hold = { kind: 'blocked', code: 'CVY_PARKED_FULL', position: lane.position };
    return true;
  }

  #gapTimeout(): boolean {
    const [first = 0] = this.waiting;
    if (this.definition.gap.onTimeout === 'continue') return this.#withoutGap();
    this.hold = { kind: 'blocked', code: 'CVY_GAP', position: first };
    return true;
  }

  #withoutGap(): boolean {
    const [first = 0] = this.waiting;
    this.counts.gaps += this.#senderOf(first) - this.nextSender;
    this.nextSender = this.#senderOf(first);
    this.#gap = null;
    return true;
  }

  /** One message, all its attempts. */
  #settle(position: number, source: Source): boolean {
    this.#migrate();
    if (this.hold.kind !== 'none') return true;
    for (let attempt = 1; ; attempt += 1) {
      const code = this.#attempt(position, source, attempt);
      if (code === undefined) return true;
      const { attempts } = this.definition.retry;
      const isRetried = code !== 'CVY_TOO_LARGE' && attempt < attempts;
      if (!isRetried) return this.#poison({ position, source, code, attempts: attempt });
    }
  }

  /** The code of a failure, or undefined: the message has settled, or was set aside. */
  #attempt(position: number, source: Source, attempt: number): string | undefined {
    const message = this.admitted[position - 1];
    if (message === undefined) throw new Error(`no message ${position}`);
    const at = { position, source, attempts: attempt };
    const done = (outcome: RefSettlement['outcome'], code?: string): undefined => {
      this.#record({ ...at, outcome, ...(code !== undefined && { code }) });
    };
    const { definition } = this;
    if (this.#verdict?.position === position) {
      if (this.#verdict.as === 'skip') return done('skipped', 'CVY_SKIPPED');
      return void this.#setAside({ ...at, code: 'CVY_PARKED' });
    }
    const isOver = this.completedAt !== null && source !== 'parked';
    if (isOver && definition.afterComplete === 'reject') return done('rejected', 'CVY_COMPLETED');
    if (isOver && definition.afterComplete === 'park')
      return void this.#setAside({ ...at, code: 'CVY_COMPLETED' });
    if (message.fault?.code === 'CVY_TOO_LARGE') return 'CVY_TOO_LARGE';
    if (message.fault !== undefined) return done('invalid', message.fault.code);
    if (message.schemaVersion > definition.version) return 'CVY_VERSION';
    try {
      const body = bodyOf(definition, message);
      if ('fault' in body) return done('invalid', 'CVY_SCHEMA');
      return this.#apply(messageOf(this.key, position, { message, body: body.value }), at);
    } catch {
      return 'CVY_HANDLER';
    }
  }

  #apply(
    message: Message<unknown>,
    at: { position: number; source: Source; attempts: number },
  ): string | undefined {
    const before = copied(this.state);
    const { definition, state } = this;
    let called = call(definition, { state, message, effect: undefined });
    if (!called.rejected && this.definition.effect !== undefined) {
      const effect = this.#effect?.(message, at.attempts);
      if (effect?.kind === 'failed') return effect.code;
      called = call(definition, { state, message, effect: effect?.result });
    }
    const bytes = called.outputs.reduce((n, { body }) => n + JSON.stringify(body).length, 0);
    if (bytes > transactionBytes) return 'CVY_TOO_LARGE';
    const emitted = called.outputs.map((output) => ({ ...output, cause: message.id }));
    if (called.rejected) {
      this.#record({ ...at, outcome: 'rejected', emitted });
      return undefined;
    }
    const isReplay = at.source === 'parked';
    const windows = this.windows.copy(); // a throw changes nothing
    const entered = windows.enter(this.definition, { message, before, isReplay, now: this.now });
    if (entered.kind === 'park') {
      this.#setAside({ ...at, code: entered.code });
      return undefined;
    }
    this.windows = windows;
    this.state = called.next;
    this.counts.late += entered.late;
    emitted.push(...entered.outputs.map(({ type, body }) => ({ type, body, cause: message.id })));
    if (called.isComplete) this.#complete(at.position);
    this.#record({ ...at, outcome: 'applied', emitted });
    return undefined;
  }

  #complete(position: number): void {
    this.completedAt = position;
    this.windows.raise(this.windows.watermarkOfEnd(this.definition, false), this.now);
  }

  #record(settled: {
    position: number;
    source: Source;
    attempts: number;
    outcome: RefSettlement['outcome'];
    code?: string;
    emitted?: { type: string; body: unknown; cause: string }[];
  }): true {
    const { position, source, attempts, outcome, code, emitted = [] } = settled;
    const id = this.admitted[position - 1]?.messageId ?? '';
    const healed = source === 'parked';
    this.settlements.push({ position, id, outcome, ...(code && { code }), attempts, healed });
    if (source === 'run') this.#moveTo(position);
    if (source === 'taken') this.waiting = this.waiting.filter((other) => other !== position);
    if (healed) {
      this.parked = this.parked.filter((other) => other !== position);
      this.healing = this.healing.filter((other) => other !== position);
      this.counts.parked -= 1;
      this.counts.healed += 1;
    }
    this.counts[outcome] += 1;
    if (outcome === 'parked') this.parked = [...this.parked, position].sort((a, b) => a - b);
    else this.#known.set(id, { settledAt: this.now });
    const isNext =
      this.definition.order === 'sender' && this.#senderOf(position) === this.nextSender;
    if (isNext && !healed) this.nextSender += 1;
    if (this.#verdict?.position === position) this.#verdict = null;
    let n = source === 'run' ? 0 : outOfLine;
    for (const output of emitted) this.outputs.push({ position, n: n++, ...output });
    if (source === 'run') this.#n = n;
    this.#closeDue();
    return true;
  }

  #closeDue(): void {
    for (const output of this.windows.closeDue(this.definition, this.now)) this.#closing(output);
  }

  #closing({ type, body }: WindowOutput): void {
    this.counts.windowsClosed += 1;
    this.outputs.push({ position: this.cursor, n: this.#n++, type, body, cause: '' });
  }

  #poison(failure: { position: number; source: Source; code: string; attempts: number }): true {
    const { position, source, code, attempts } = failure;
    const { onPoison } = this.definition;
    if (onPoison === 'block') {
      this.hold = { kind: 'blocked', code, position, attempts };
    } else if (source === 'parked' || onPoison === 'park') {
      this.#setAside(failure);
    } else {
      if (source === 'run') this.#take(position);
      this.lane = { position, code };
    }
    return true;
  }

  /** Parked; a replayed message stays parked, and in a lane so does everything behind it. */
  #setAside(failure: { position: number; source: Source; code: string; attempts: number }): void {
    const { position, source, code, attempts } = failure;
    if (source === 'parked') {
      const rest = this.healing.filter((other) => other !== position);
      this.healing = this.definition.onPoison === 'park-lane' ? [] : rest;
      if (this.#verdict?.position === position) this.#verdict = null;
    } else if (this.parked.length >= this.#parkedMax) {
      this.hold = { kind: 'blocked', code: 'CVY_PARKED_FULL', position, attempts };
    } else {
      this.#record({ position, source, attempts, outcome: 'parked', code });
    }
  }

  #migrate(): void {
    const { version } = this.definition;
    if (this.stateVersion > version) {
      this.hold = { kind: 'blocked', code: 'CVY_VERSION' };
      return;
    }
    this.state = migrated(this.definition, this.state, this.stateVersion);
    this.stateVersion = version;
  }

  act(action: RefAction): void {
    const { hold } = this;
    if (!may(this, action)) throw new Error(`may not ${action}`);
    if (action === 'pause') this.hold = { kind: 'paused', code: 'CVY_PAUSED' };
    else if (action === 'replay') {
      this.healing = [...this.parked];
      if (this.lane !== null) this.#verdict = null;
      this.lane = null;
      if (hold.code === 'CVY_PARKED_FULL') this.hold = none;
    } else if (action === 'cancel') {
      if (hold.kind !== 'paused') this.hold = none;
      this.#complete(this.cursor);
    } else {
      this.hold = none;
      if (action === 'retry') {
        this.#verdict = null;
        if (this.#gap) this.#gap.since = this.now;
      } else if (action === 'skip' && hold.code === 'CVY_GAP') this.#withoutGap();
      else if (action === 'skip' || action === 'park')
        this.#verdict = { position: hold.position ?? 0, as: action };
    }
    this.run();
    const quietMs =
      Math.min(...this.definition.windows.map((w) => w.quietSeconds ?? Infinity)) * 1000;
    if (this.now - this.#lastAdmittedAt >= quietMs) this.#quiet();
  }

  /** Nothing comes for so long: gaps time out, then what is open closes by its quiet time. */
  silence(ms: number): void {
    this.#fallSilent(); // long before its end, as all that it brings about
    this.now += ms;
  }

  #fallSilent(): void {
    while (this.hold.kind === 'none' && this.#isGap()) {
      this.#gapTimeout();
      this.run();
    }
    this.#quiet();
  }

  /** [DESIGN §5] Counted from the last admission, and never while messages wait. */
  #quiet(): void {
    if (this.hold.kind !== 'none' || this.waiting.length > 0) return;
    const watermark = this.windows.watermarkOfEnd(this.definition, true);
    const isQuiet = this.windows.open.some(({ window }) => this.#quietOf(window) !== undefined);
    if (!isQuiet) return;
    this.windows.raise(watermark, this.now);
    this.#migrate();
    this.#closeDue();
  }

  #quietOf(name: string): number | undefined {
    return this.definition.windows.find((window) => window.name === name)?.quietSeconds;
  }
}
