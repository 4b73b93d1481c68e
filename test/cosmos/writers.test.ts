// 200 parallel writers: counted from the file, not from the server's answers.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, expect, test } from 'vitest';
import { closeAll, containerOf, start } from './server-under-test.ts';

afterEach(closeAll);

const writers = 200;
const heads = Array.from({ length: 16 }, (_, at) => `h${at}`);

test('200 writers, batch with If-Match: no item is lost, none is extra', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'cosmos-'));
  const file = join(folder, 'cosmos.sqlite');
  const container = await containerOf(await start({ file }));
  for (const id of heads) await container.items.create({ id, pk: 'p', seq: 0 });
  let refused = 0;
  let reading = writers;
  let go = (): void => {};
  const haveAllRead = new Promise<void>((resolve) => (go = resolve));
  const commit = async (writer: number): Promise<void> => {
    const id = heads[writer % heads.length]!;
    for (;;) {
      const { resource, etag } = await container.item(id, 'p').read();
      // Everybody begins from the same state: of those on one head all but one must be refused.
      if (--reading === 0) go();
      await haveAllRead;
      const seq: number = resource.seq + 1;
      const { code, result } = await container.items.batch(
        [
          { operationType: 'Create', resourceBody: { id: `e${writer}-${seq}`, pk: 'p', seq } },
          { operationType: 'Upsert', resourceBody: { id: `last-${id}`, pk: 'p', writer, seq } },
          { operationType: 'Replace', id, ifMatch: etag, resourceBody: { id, pk: 'p', seq } },
        ],
        'p',
      );
      if (code === 200) return;
      expect(result?.map(({ statusCode }) => statusCode)).toEqual([424, 424, 412]);
      refused++;
    }
  };

  await Promise.all(Array.from({ length: writers }, (_, writer) => commit(writer)));
  await closeAll();

  const sql = new DatabaseSync(file, { readOnly: true });
  const ids = sql
    .prepare('SELECT id FROM items_1')
    .all()
    .map(({ id }) => String(id));
  const seqs = sql
    .prepare(`SELECT json_extract(body,'$.seq') AS seq FROM items_1 WHERE id GLOB 'h[0-9]*'`)
    .all()
    .map(({ seq }) => Number(seq));
  sql.close();
  await rm(folder, { recursive: true, force: true });
  const events = ids.filter((id) => id.startsWith('e'));
  expect(seqs.reduce((sum, seq) => sum + seq, 0)).toBe(writers);
  expect(events).toHaveLength(writers);
  expect(new Set(events.map((id) => id.split('-')[0])).size).toBe(writers);
  expect(ids).toHaveLength(writers + 2 * heads.length);
  expect(refused).toBeGreaterThanOrEqual(writers - heads.length);
});
