// What an observer writes down below every fault: the settlements in committed batches, and what
// the broker accepted. Beside that it checks what needs no reference: the chain, and that a repeat
// of an output has its content.
import { createHash } from 'node:crypto';
import type { ConvoyDefinition } from '../../shared/convoy/definition.ts';
import type { Output } from '../../shared/convoy/state.ts';
import { convoyIdOf } from '../../shared/keys.ts';
import { withDefaults } from '../../shared/convoy/state.ts';
import type { ConvoyStore, StoreOperation } from '../../shared/store/store.ts';
import { convoyName } from './cases.ts';
import { type Facts, closedFacts, factsOfProgress, settlementFacts } from './facts.ts';
import type { RefOutput, RefSettlement } from './reference-types.ts';

const sha = (text: string): string => createHash('sha256').update(text, 'utf8').digest('hex');

interface Message {
  messageId: string;
  body: string;
}

interface KeySeen {
  messages: Map<number, Message>;
  settlements: RefSettlement[];
  chain: string;
  outputs: RefOutput[];
  bodies: Map<string, string>;
  revisions: Map<string, number>;
}

export class Observer {
  readonly store: ConvoyStore;
  readonly wrong: string[] = [];
  /** Windows are forgotten within the case: one of the same start then begins anew. */
  mayForget = false;
  readonly #keys = new Map<string, KeySeen>();

  constructor(store: ConvoyStore) {
    this.store = {
      ...store,
      batch: async (convoyId, operations) => {
        const result = await store.batch(convoyId, operations);
        if (result.applied) this.#committed(convoyId, operations);
        return result;
      },
    };
  }

  #of(convoyId: string): KeySeen {
    const known = this.#keys.get(convoyId);
    if (known) return known;
    const messages = new Map<number, Message>();
    const seen: KeySeen = {
      ...{ messages, settlements: [], chain: '', outputs: [] },
      bodies: new Map(),
      revisions: new Map(),
    };
    this.#keys.set(convoyId, seen);
    return seen;
  }

  #committed(convoyId: string, operations: readonly StoreOperation[]): void {
    const seen = this.#of(convoyId);
    const healed = new Set<number>();
    for (const operation of operations) {
      if (operation.kind !== 'set' || !operation.id.startsWith('parked:')) continue;
      if (operation.fields['healedAt'] !== undefined)
        healed.add(Number(operation.id.slice('parked:'.length)));
    }
    for (const operation of operations) {
      if (operation.kind === 'create' && operation.item.kind === 'inbox') {
        const { position, messageId, bodyText, bodyBase64 } = operation.item;
        seen.messages.set(position, { messageId, body: bodyText ?? bodyBase64 ?? '' });
      }
      const isSettlement =
        operation.kind === 'set' &&
        operation.id.startsWith('inbox:') &&
        operation.fields['outcome'];
      if (!isSettlement) continue;
      const position = Number(operation.id.slice('inbox:'.length));
      this.#settled(seen, { position, healed: healed.has(position), fields: operation.fields });
    }
  }

  #settled(
    seen: KeySeen,
    {
      position,
      healed,
      fields,
    }: { position: number; healed: boolean; fields: Record<string, unknown> },
  ): void {
    const { messageId, body } = seen.messages.get(position) ?? { messageId: '', body: '' };
    const { outcome, code, attempts, chain, settlement } = fields as {
      outcome: string;
      code?: string | null;
      attempts: number;
      chain: string;
      settlement: number;
    };
    const before = seen.chain;
    seen.chain = sha([before, position, messageId, sha(body), outcome].join('\n'));
    if (seen.chain !== chain) this.wrong.push(`the chain breaks at ${position}`);
    const one = { position, messageId, outcome, attempts, healed, ...(code != null && { code }) };
    seen.settlements.push(settlementFacts(one));
    if (settlement !== seen.settlements.length)
      this.wrong.push(`settlement ${settlement} is the ${seen.settlements.length}th`);
  }

  published(key: string, outputs: readonly Output[]): void {
    const seen = this.#of(convoyIdOf(convoyName, key));
    for (const { position, n, type, bodyText, causationId } of outputs) {
      const id = `${position}:${n}`;
      const content = `${type} ${causationId} ${bodyText}`;
      const known = seen.bodies.get(id);
      if (known !== undefined) {
        if (known !== content) this.wrong.push(`output ${id} has two contents`);
        continue;
      }
      seen.bodies.set(id, content);
      const body: unknown = JSON.parse(bodyText);
      if (type === 'window.closed') this.#closed(seen, body as Record<string, unknown>);
      seen.outputs.push({ position, n, type, body, cause: causationId });
    }
  }

  /** [W3] What a consumer relies on: of each window revision 0, 1, 2 … */
  #closed(seen: KeySeen, { window, start, revision }: Record<string, unknown>): void {
    const name = `${String(window)} of ${String(start)}`;
    const expected = (seen.revisions.get(name) ?? -1) + 1;
    const isAnew = this.mayForget && revision === 0;
    if (revision !== expected && !isAnew)
      this.wrong.push(`${name}: revision ${String(revision)}, not ${expected}`);
    seen.revisions.set(name, Number(revision));
  }

  /** The facts of a key at rest; undefined when nothing ever came. */
  async facts(definition: ConvoyDefinition, key: string): Promise<Facts | undefined> {
    const convoyId = convoyIdOf(convoyName, key);
    const progress = await this.store.readProgress(convoyId);
    if (progress === undefined) return undefined;
    const { items } = await this.store.listWindows(convoyId, { limit: 1000 });
    const { settlements, outputs } = this.#of(convoyId);
    const byStart = (a: { start: number; window: string }, b: { start: number; window: string }) =>
      a.start - b.start || (a.window < b.window ? -1 : 1);
    return {
      ...factsOfProgress(definition, withDefaults(progress.item)),
      settlements,
      outputs,
      closed: items.sort(byStart).map(closedFacts),
    };
  }
}
