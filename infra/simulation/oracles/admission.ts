// H1, H10 and the sessions of the broker: every message of a key is admitted once, in the order of
// the queue, and only the holder of a session settles.
import type { Holder, Lane, Locked } from '../../local/broker/lane.ts';
import { keylessSession } from '../messages.ts';
import type { SentMessage } from '../messages.ts';
import type { Applied, Oracle, Scene } from './oracle.ts';

interface Line {
  /** Copies in the order of the queue. */
  copies: { id: string; sequence: number }[];
  /** Everything before it is admitted or dead. */
  next: number;
  admitted: Map<string, number>;
}

export class AdmissionOracle implements Oracle {
  readonly #scene: Scene;
  readonly #lines = new Map<string, Line>();
  readonly #holders = new Map<string, Holder>();
  /** Ids with a copy in the dead-letter queue. */
  readonly #dead = new Set<string>();
  readonly #rescued = new Set<string>();

  constructor(scene: Scene) {
    this.#scene = scene;
  }

  sent({ key, message }: SentMessage, sequence: number): void {
    if (key !== '') this.#line(key).copies.push({ id: message.id, sequence });
  }

  dead(key: string, id: string): void {
    this.#dead.add(`${key}\n${id}`);
  }

  rescued(messageId: string, key: string): void {
    this.#rescued.add(`${key}\n${messageId}`);
  }

  accepted(lane: Lane, holder: Holder): void {
    const sessionId = lane.sessionId ?? '';
    const before = this.#holders.get(sessionId);
    if (before) this.#say('H10', sessionId, 'the session was accepted while another one held it');
    this.#holders.set(sessionId, holder);
  }

  lost(lane: Lane, holder: Holder): void {
    const sessionId = lane.sessionId ?? '';
    if (this.#holders.get(sessionId) === holder) this.#holders.delete(sessionId);
  }

  settled({ lane }: Locked, holder: Holder): void {
    const sessionId = lane.sessionId ?? '';
    if (this.#holders.get(sessionId) === holder) return;
    this.#say('H10', sessionId, 'somebody settled who does not hold the session');
  }

  applied({ site, key, operations, gate, gateAfter }: Applied): void {
    if (site !== 'admit' && site !== 'admitFirst') return;
    const created = operations.flatMap((o) => (o.kind === 'create' ? [o.item] : []));
    const inbox = created.find((item) => item.kind === 'inbox');
    const seen = created.find((item) => item.kind === 'seen');
    if (inbox === undefined || inbox.position !== gateAfter?.tail) {
      return this.#say('H1', key, 'an admit without the message of its position');
    }
    const { messageId, position } = inbox;
    const say = (message: string): void =>
      this.#scene.report({ oracle: 'admission', rule: 'H1', message, key, position });
    if (position !== (gate?.tail ?? 0) + 1) say(`position ${position} after ${gate?.tail ?? 0}`);
    if (seen?.messageId !== messageId || seen.position !== position) say('no dedup marker');
    const line = this.#line(key);
    const before = line.admitted.get(messageId);
    if (before !== undefined && !this.#isForgotten(key, before)) {
      say(`'${messageId}' had been admitted at ${before}`);
    }
    line.admitted.set(messageId, position);
    const isOutOfLine = this.#rescued.has(`${key}\n${messageId}`) || this.#isDead(key, messageId);
    if (!isOutOfLine && before === undefined) this.#checkOrder(key, line, messageId);
  }

  #checkOrder(key: string, line: Line, messageId: string): void {
    for (; line.next < line.copies.length; line.next += 1) {
      const { id = '' } = line.copies[line.next] ?? {};
      if (id === messageId) return;
      if (line.admitted.has(id) || this.#isDead(key, id)) continue;
      return this.#say('H1', key, `'${messageId}' was admitted before '${id}', sent before it`);
    }
    this.#say('H1', key, `'${messageId}' was admitted and not sent`);
  }

  #isDead(key: string, id: string): boolean {
    return this.#dead.has(`${key}\n${id}`);
  }

  /** Its marker may have expired after it settled: then it is a new message. */
  #isForgotten(key: string, position: number): boolean {
    const { cosmos, convoyIdOf, plot } = this.#scene;
    if (!plot.mayForget) return false;
    const id = `inbox:${String(position).padStart(12, '0')}`;
    const item = cosmos.latest(convoyIdOf(key), 'inbox', id);
    return item === undefined || item.ttl !== undefined;
  }

  #line(key: string): Line {
    let line = this.#lines.get(key);
    if (!line) this.#lines.set(key, (line = { copies: [], next: 0, admitted: new Map() }));
    return line;
  }

  atEnd(): void {
    for (const [key, { copies, admitted }] of this.#lines) {
      const lost = copies.find(({ id }) => !admitted.has(id));
      if (lost) this.#say('H10', key, `'${lost.id}' was sent and never admitted`);
    }
  }

  #say(rule: string, key: string, message: string): void {
    const about = key === keylessSession ? {} : { key };
    this.#scene.report({ oracle: 'admission', rule, message, ...about });
  }
}
