// In the end: nothing is lost, nothing waits, every message took effect exactly once and in order.
import type { OperatorAction } from '../../../shared/engine/operate.ts';
import type { InboxItem, ProgressItem } from '../../../shared/store/items.ts';
import { type Effect, effectsIn, innerOf } from '../observed.ts';
import type { SimulatedMessage } from '../messages.ts';
import type { Oracle, Scene } from './oracle.ts';
import type { OutputsOracle } from './outputs.ts';

function numberIn(message: SimulatedMessage | undefined): number {
  const body = JSON.parse(message?.text ?? '{}') as { n?: number };
  return body.n ?? 0;
}

interface Place {
  key: string;
  position: number;
}

export class RestOracle implements Oracle {
  readonly #scene: Scene;
  readonly #outputs: OutputsOracle;
  readonly #sent = new Map<string, SimulatedMessage>();
  readonly #skipped = new Set<string>();
  readonly #completed = new Set<string>();
  /** Every position that was admitted, also one that has expired since. */
  readonly keys = new Set<string>();

  constructor(scene: Scene, outputs: OutputsOracle) {
    this.#scene = scene;
    this.#outputs = outputs;
  }

  sent({ key, message }: { key: string; message: SimulatedMessage }): void {
    if (key !== '') this.keys.add(key);
    this.#sent.set(`${key}\n${message.id}`, message);
  }

  decided(key: string, action: OperatorAction, position: number | undefined): void {
    if (action === 'skip') this.#skipped.add(`${key}\n${position}`);
    if (action === 'cancel') this.#completed.add(key);
  }

  atEnd(): void {
    for (const key of this.keys) this.#check(key);
  }

  #check(key: string): void {
    const { cosmos, convoyIdOf } = this.#scene;
    const convoyId = convoyIdOf(key);
    const gate = cosmos.latest(convoyId, 'gate', 'gate');
    const progress = cosmos.latest(convoyId, 'progress', 'progress');
    if (!gate || !progress) return this.#say(key, 'H12', 'gate or progress is gone');
    if (gate.phase !== 'idle') this.#say(key, 'liveness', `the gate is ${gate.phase}`);
    const { hold, asideCount, cursor } = progress;
    if (hold.kind !== 'none') this.#say(key, 'liveness', `hold ${hold.kind} ${hold.code ?? ''}`);
    if (asideCount > 0) this.#say(key, 'liveness', `${asideCount} messages lie aside`);
    if (cursor !== gate.tail) this.#say(key, 'H6', `cursor ${cursor}, tail ${gate.tail}`);
    const partition = cosmos.partition(convoyId);
    const at = { version: partition.version };
    const left = cosmos.all(partition, { kind: 'outbox', ...at });
    if (left.length > 0) this.#say(key, 'H11', `${left.length} items lie in the outbox`);
    const items = cosmos.all(partition, { kind: 'inbox', ...at });
    for (const item of items) this.#checkOutcome(key, item);
    this.#checkEffects(key, progress, items);
  }

  #checkOutcome(key: string, { position, messageId, outcome, code }: InboxItem): void {
    const expected = this.#sent.get(`${key}\n${messageId}`)?.expect;
    if (outcome === expected) return;
    const say = (): void =>
      this.#say({ key, position }, 'H7', `'${messageId}' is ${outcome} ${code ?? ''}`);
    if (outcome === 'waiting' || outcome === 'deadLettered') return say();
    if (expected === undefined || code === 'CVY_STALE') return;
    if (code === 'CVY_COMPLETED' && this.#completed.has(key)) return;
    if (outcome === 'skipped' && this.#skipped.has(`${key}\n${position}`)) return;
    say();
  }

  /** The ledger in the state against the settlements. */
  #checkEffects(key: string, progress: ProgressItem, items: InboxItem[]): void {
    const effects = effectsIn(progress.state);
    const applied = items.filter(({ outcome }) => outcome === 'applied');
    const inOrder = applied.sort((a, b) => (a.settlement ?? 0) - (b.settlement ?? 0));
    const expected = inOrder.map(({ position }) => position).join();
    const kept = new Set(items.map(({ position }) => position));
    const counted = effects.filter(({ position }) => kept.has(position));
    const found = counted.map(({ position }) => position).join();
    if (found !== expected) this.#say(key, 'H5', `effects ${found}; settled ${expected}`);
    if (new Set(effects.map(({ position }) => position)).size !== effects.length) {
      this.#say(key, 'H5', 'an effect took place twice');
    }
    if (progress.counts.applied !== effects.length) {
      this.#say(key, 'H5', `${progress.counts.applied} counted, ${effects.length} effects`);
    }
    this.#checkOrder(key, inOrder);
    this.#checkOutputs(key, effects);
    this.#checkState(key, progress, effects);
  }

  /** What the convoy made of its messages, where the scenario can say it. */
  #checkState(key: string, progress: ProgressItem, effects: readonly Effect[]): void {
    const { totalOf } = this.#scene.plot;
    if (totalOf === undefined) return;
    const sentAs = (id: string) => this.#sent.get(`${key}\n${id}`) ?? this.#sent.get(`\n${id}`);
    const should = effects.reduce((sum, { id }) => sum + numberIn(sentAs(id)), 0);
    const is = totalOf(innerOf(progress.state));
    if (is !== should) this.#say(key, 'H5', `the state comes to ${is}, its messages to ${should}`);
  }

  /** Nothing that was never parked is overtaken. */
  #checkOrder(key: string, applied: readonly InboxItem[]): void {
    const isSenders = this.#scene.plot.order === 'sender';
    let last = 0;
    for (const { position, senderPosition = 0, reason } of applied) {
      // Healed: its reason was taken away.
      if (reason === null) continue;
      const rank = isSenders ? senderPosition : position;
      if (rank <= last) this.#say({ key, position }, 'H7', `${rank} took effect after ${last}`);
      last = Math.max(last, rank);
    }
  }

  #checkOutputs(key: string, effects: readonly Effect[]): void {
    const emitted = new Map<number, number>();
    for (const { position, type } of this.#outputs.streamOf(key).committed) {
      if (type.startsWith('window.')) continue;
      emitted.set(position, (emitted.get(position) ?? 0) + 1);
    }
    for (const effect of effects) {
      const n = emitted.get(effect.position) ?? 0;
      if (n === effect.emitted) continue;
      this.#say(
        { key, position: effect.position },
        'H11',
        `emitted ${effect.emitted}, in the outbox ${n}`,
      );
    }
  }

  #say(where: string | Place, rule: string, message: string): void {
    const place = typeof where === 'string' ? { key: where } : where;
    this.#scene.report({ oracle: 'rest', rule, message, ...place });
  }
}
