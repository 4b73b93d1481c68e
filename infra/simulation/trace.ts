// What happened, for people and for a shrinker: one entry per step, fault, write and publication.
import type { Written } from './cosmos.ts';
import type { Fault } from './faults.ts';
import type { Published } from './publisher-port.ts';
import type { Step } from './scheduler.ts';
import { siteOf } from './sites.ts';

export interface TraceEntry {
  step: number;
  /** Virtual instant, epoch milliseconds. */
  at: number;
  /** `host1.4`, `azure`, `senders`, `people`, `fault`, `oracle`. */
  actor: string;
  /** Label of the step, kind of the fault, site of the write. */
  what: string;
  key?: string;
  detail?: string;
}

export class Trace {
  readonly entries: TraceEntry[] = [];
  readonly #now: () => { step: number; at: number };

  constructor(now: () => { step: number; at: number }) {
    this.#now = now;
  }

  note(entry: Omit<TraceEntry, 'step' | 'at'>): void {
    this.entries.push({ ...this.#now(), ...entry });
  }

  step({ owner, label }: Step): void {
    this.note({ actor: owner.name, what: label });
  }

  fault({ kind, value }: Fault, detail?: string): void {
    const about = detail === undefined ? `value ${value.toFixed(3)}` : detail;
    this.note({ actor: 'fault', what: kind, detail: about });
  }

  batch({ convoyId, operations, result }: Written): void {
    const key = convoyId.slice(convoyId.indexOf(':') + 1);
    const after: string[] = [];
    for (const operation of operations) {
      if (!('item' in operation)) continue;
      const { item } = operation;
      if (item.kind === 'gate') after.push(`gate ${item.phase} e${item.epoch} tail ${item.tail}`);
      if (item.kind === 'progress') {
        after.push(`progress e${item.epoch} cursor ${item.cursor} hold ${item.hold.kind}`);
      }
      if (item.kind === 'inbox') after.push(`'${item.messageId}' at ${item.position}`);
    }
    const answer = result.applied ? '' : `refused with ${result.status}; `;
    this.note({ actor: 'azure', what: siteOf(operations), key, detail: answer + after.join(', ') });
  }

  published({ messageId, sessionId, output }: Published, isNew: boolean): void {
    const detail = `${messageId} ${output?.type ?? 'window.rolledUp'}${isNew ? '' : ' (repeat)'}`;
    this.note({ actor: 'azure', what: 'published', key: sessionId, detail });
  }
}
