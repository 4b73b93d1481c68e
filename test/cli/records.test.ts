import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { contentHash, formatOf, readRecords } from '../../infra/cli/records.ts';
import type { RecordFormat } from '../../infra/cli/records.ts';
import { tempFolder } from './processes.ts';

const folder = tempFolder();
afterAll(() => folder[Symbol.dispose]());
let files = 0;

async function read(content: string | Buffer, format: RecordFormat) {
  const path = join(folder.path, `file-${(files += 1)}`);
  writeFileSync(path, content);
  const hash = contentHash();
  const records = [];
  for await (const one of readRecords({ path, name: 'F', format }, hash)) records.push(one);
  return { records, hash: hash.digest('hex') };
}

describe('records of a file', () => {
  test('CSV: every value is a text, quotes and line breaks inside them hold', async () => {
    const { records } = await read(
      '\ufeffkey,n,note\r\nA,007,"say ""hi"",\ntwice"\r\n\r\nB,,\r\n',
      'csv',
    );

    expect(records).toEqual([
      { number: 1, fields: { key: 'A', n: '007', note: 'say "hi",\ntwice' } },
      { number: 2, fields: { key: 'B', n: '', note: '' } },
    ]);
  });

  test('F1: NDJSON numbers keep every digit they were written with', async () => {
    const line = '{"key":"A","big":12345678901234567890,"money":1.10,"exp":1e5,"in":[0.1,-0]}';

    const { records } = await read(`${line}\n`, 'ndjson');

    expect(JSON.stringify(records[0]?.fields)).toBe(line);
  });

  test('NDJSON: U+2028 inside a text breaks no line, an empty line is counted', async () => {
    const { records } = await read('{"a":"x\u2028y"}\n\n{"a":"z"}', 'ndjson');

    expect(records.map(({ number, fields }) => [number, fields['a']])).toEqual([
      [1, 'x\u2028y'],
      [3, 'z'],
    ]);
  });

  test('gzip is known by its content, and the same content has the same hash', async () => {
    const text = 'key\nA\nB\n';

    const plain = await read(text, 'csv');
    const packed = await read(gzipSync(text), 'csv');

    expect(packed).toEqual(plain);
    expect((await read(`${text}C\n`, 'csv')).hash).not.toBe(plain.hash);
  });

  test.each<[string, string | Buffer, RecordFormat, string]>([
    ['a row with a cell too many', 'a,b\n1,2\n1,2,3\n', 'csv', 'F: row 2'],
    ['an open quote', 'a,b\n1,2\n"1,2\n', 'csv', 'F: row 2'],
    ['a column that stands twice', 'a,a\n1,2\n', 'csv', 'a stands there twice'],
    ['a line that is not JSON', '{"a":1}\n{"a":\n', 'ndjson', 'F: row 2'],
    ['a line that is no object', '[1]\n', 'ndjson', 'F: row 1 is not a JSON object'],
    ['bytes that are not UTF-8', Buffer.from([0x61, 0x0a, 0xc3, 0x28]), 'csv', 'not UTF-8'],
    ['half a character at the end', Buffer.from([0x61, 0x0a, 0xc3]), 'csv', 'UTF-8 character'],
    ['half a gzip file', gzipSync('a\n1\n').subarray(0, 12), 'csv', 'F: '],
  ])('%s is named', async (_, content, format, part) => {
    const reading = read(content, format);

    await expect(reading).rejects.toMatchObject({ code: 'CVY_FILE' });
    await expect(reading).rejects.toThrow(part);
  });

  test('a file that is not there is named', async () => {
    const file = { path: join(folder.path, 'none.csv'), name: 'none.csv', format: 'csv' as const };

    await expect(readRecords(file).next()).rejects.toThrow(/^CVY_FILE: none\.csv: ENOENT/);
  });

  test.each([
    ['a.csv', 'csv'],
    ['b.CSV.gz', 'csv'],
    ['c.ndjson', 'ndjson'],
    ['d.jsonl.gz', 'ndjson'],
    ['-', undefined],
    ['e.txt', undefined],
  ])('the name %s tells the format %s', (name, format) => {
    expect(formatOf(name)).toBe(format);
  });
});
