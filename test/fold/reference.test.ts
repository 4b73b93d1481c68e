// The reference itself against truth that other programs computed: the small files of the data
// sets, as recorded, and delivered late, repeated and out of order to the definitions in the
// sender's order.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { convoys } from '../../functions/convoys/registry.ts';
import {
  dataFile,
  describeWithData,
  idsDigest,
  readTruth,
  sha256,
} from '../support/shared-data.ts';
import { type Stream, expectedDigests, streamsOf } from '../support/streams.ts';
import { Fold } from './reference.ts';

type Row = Record<string, string>;

interface KeyTruth {
  final_state: string;
  balance?: number;
  climb_cm?: number;
}

function rowsOf({ set, file, isShuffled }: Stream): Row[] {
  const path = dataFile(set, file);
  if (isShuffled) {
    const flags = [dataFile('deliver.mjs'), path, '--late', '200', '--dup', '20'];
    const { stdout } = spawnSync(process.execPath, flags, { encoding: 'utf8', maxBuffer: 1e8 });
    return stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Row);
  }
  const [header = '', ...lines] = readFileSync(path, 'utf8').trimEnd().split('\n');
  const names = header.split(',');
  return lines.map((line) => {
    const values = line.split(',');
    return Object.fromEntries(names.map((name, i) => [name, values[i] ?? '']));
  });
}

function foldsOf(stream: Stream): Map<string, Fold> {
  const definition = convoys.find(({ name }) => name === stream.convoy);
  if (definition === undefined) throw new Error(stream.convoy);
  const folds = new Map<string, Fold>();
  for (const row of rowsOf(stream)) {
    const key = row['key'] ?? '';
    const fold = folds.get(key) ?? new Fold({ definition, key, now: 0 });
    folds.set(key, fold);
    const occurredAt = Date.parse(row['ts'] ?? '');
    fold.send({
      messageId: row['event_id'] ?? '',
      type: row['type'] ?? '',
      bodyText: JSON.stringify(row),
      schemaVersion: 1,
      senderPosition: Number(row['seq']),
      occurredAt,
      enqueuedAt: occurredAt,
    });
  }
  for (const fold of folds.values()) {
    fold.run();
    fold.silence(60_000);
  }
  return folds;
}

describeWithData('the reference', () => {
  test.each(streamsOf('events-smoke.csv'))('$set into $convoy', (stream) => {
    const folds = [...foldsOf(stream)].sort(([a], [b]) =>
      Buffer.compare(Buffer.from(a), Buffer.from(b)),
    );
    const keys = folds.map(([key, { settlements, state }]) => {
      const applied = settlements
        .filter(({ outcome }) => outcome === 'applied')
        .map(({ id }) => id);
      return { line: `${key}\t${applied.length}\t${idsDigest(applied)}\n`, key, state };
    });
    const windows = folds.flatMap(([key, { outputs }]) => {
      // The last revision of each window, by its start.
      const last = new Map<string, Record<string, unknown>>();
      for (const { type, body } of outputs) {
        const closed = body as Record<string, unknown>;
        if (type === 'window.closed') last.set(String(closed['start']), closed);
      }
      const at = (start: string) => Date.parse(start);
      return [...last.entries()]
        .sort(([a], [b]) => at(a) - at(b))
        .map(([start, w]) => [key, start, w['count'], w['sum'], w['min'], w['max']].join('\t'));
    });
    const truth = readTruth<Record<string, KeyTruth>>(stream.set, 'expected-keys-smoke.json');
    const figures = keys.map(({ key, state }) => {
      const { balance, climbCm, status } = state as Record<string, unknown>;
      return [key, balance ?? climbCm ?? status];
    });

    const expected = expectedDigests(stream);
    expect(sha256(keys.map(({ line }) => line).join(''))).toBe(expected.keys_sha256);
    expect(sha256(windows.map((line) => `${line}\n`).join(''))).toBe(expected.windows_sha256);
    expect(Object.fromEntries(figures)).toEqual(
      Object.fromEntries(
        Object.entries(truth).map(([key, { balance, climb_cm, final_state }]) => [
          key,
          balance ?? climb_cm ?? final_state,
        ]),
      ),
    );
  });
});
