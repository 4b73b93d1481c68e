// H5, H12: every position settles once (once more when it was parked), settlements are numbered
// without a gap, the chain is the hash of what settled, and nothing begins to expire before.
import { hash } from 'node:crypto';
import type { StoreOperation } from '../../../shared/store/store.ts';
import type { Applied, Oracle, Scene } from './oracle.ts';

const sha256 = (text: string): string => hash('sha256', text, 'hex');

type Fields = Record<string, unknown>;

interface Ledger {
  settled: number;
  chain: string;
  /** Outcome by position. */
  outcomes: Map<number, string>;
}

export function settlementOracle(scene: Scene): Oracle {
  const ledgers = new Map<string, Ledger>();
  return {
    applied(batch) {
      if (batch.site !== 'commit') return;
      const { key, progressAfter } = batch;
      const ledger = ledgers.get(key) ?? { settled: 0, chain: '', outcomes: new Map() };
      ledgers.set(key, ledger);
      const say = (rule: string, message: string, position?: number): void => {
        const at = position === undefined ? {} : { position };
        scene.report({ oracle: 'settlement', rule, message, key, ...at });
      };
      for (const operation of batch.operations) {
        if (operation.kind === 'set' && operation.id.startsWith('inbox:')) {
          settle(scene, { batch, ledger, say }, operation);
        }
      }
      if (progressAfter?.settled !== ledger.settled) {
        say('H5', `${ledger.settled} have settled, progress says ${progressAfter?.settled}`);
      }
      if (progressAfter?.chain !== ledger.chain) say('H5', 'the chain does not verify');
    },
  };
}

interface Settling {
  batch: Applied;
  ledger: Ledger;
  say(rule: string, message: string, position?: number): void;
}

function settle(
  { cosmos, coverage }: Scene,
  { batch, ledger, say }: Settling,
  { id, fields }: Extract<StoreOperation, { kind: 'set' }>,
): void {
  const position = Number(id.slice('inbox:'.length));
  const outcome = String(fields['outcome']);
  const before = ledger.outcomes.get(position);
  coverage.count(`outcome:${before === 'parked' ? 'healed' : outcome}`);
  if (before !== undefined && (before !== 'parked' || outcome === 'parked')) {
    say('H5', `${outcome}, and had settled as ${before}`, position);
  }
  ledger.outcomes.set(position, outcome);
  ledger.settled += 1;
  if (fields['settlement'] !== ledger.settled) {
    say('H5', `settlement ${String(fields['settlement'])} is number ${ledger.settled}`, position);
  }
  const item = cosmos.latest(batch.convoyId, 'inbox', id);
  if (item === undefined) return say('H12', 'settled, and is not in the inbox', position);
  const body = sha256(item.bodyText ?? item.bodyBase64 ?? '');
  const { messageId } = item;
  ledger.chain = sha256([ledger.chain, position, messageId, body, outcome].join('\n'));
  if (fields['chain'] !== ledger.chain) say('H5', 'the link is not the hash of it', position);
  if (outcome !== 'parked') expiryFaults(batch, { messageId, position, fields }, say);
  else if (item.ttl !== undefined) say('H12', 'a parked message expires', position);
}

function expiryFaults(
  { operations }: Applied,
  about: { messageId: string; position: number; fields: Fields },
  say: Settling['say'],
): void {
  if (!(Number(about.fields['ttl']) > 0)) say('H12', 'settled without a TTL', about.position);
  const marker = `seen:${sha256(about.messageId)}`;
  const isDated = operations.some(
    (o) => o.kind === 'set' && o.id === marker && Number(o.fields['ttl']) >= 3600,
  );
  if (!isDated) say('H12', 'settled, and its dedup marker never expires', about.position);
}
