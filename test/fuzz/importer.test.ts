// Hostile files for `convoy send`: read record by record in bounded memory, or refused with the
// place and the remedy. The command itself, with its exit codes, is run by send.test.ts.
import { createWriteStream, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { type FileRecord, type RecordFormat, readRecords } from '../../infra/cli/records.ts';
import { ConvoyError } from '../../shared/errors.ts';
import { tempFolder } from '../cli/processes.ts';
import { isUnpolluted, nastyTexts, runs } from './hostile.ts';

const folder = tempFolder();
afterAll(() => folder[Symbol.dispose]());
let files = 0;
const nextPath = (): string => join(folder.path, `file-${(files += 1)}`);

function fileOf(content: string | Buffer): string {
  const path = nextPath();
  writeFileSync(path, content);
  return path;
}

async function readAll(path: string, format: RecordFormat): Promise<FileRecord[]> {
  const records: FileRecord[] = [];
  for await (const one of readRecords({ path, name: 'F', format })) records.push(one);
  return records;
}

/** What the file is refused with. */
async function refusal(content: string | Buffer, format: RecordFormat): Promise<string> {
  const error = await readAll(fileOf(content), format).then(
    () => 'accepted',
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(ConvoyError);
  const { code, message, received } = error as ConvoyError;
  expect(code).toBe('CVY_FILE');
  expect(message).toContain('Remedy: ');
  expect(received).toMatch(/^F: /);
  return received;
}

const read = (content: string | Buffer, format: RecordFormat) => readAll(fileOf(content), format);
const quoted = (text: string): string => `"${text.replaceAll('"', '""')}"`;

test('any bytes are records, or a fault that names the file', async () => {
  const pieces = fc.oneof(
    fc.constantFrom('"', ',', '\n', '\r', '\r\n', '{', '}', '[', '\ufeff', '\0', '{"a":1}\n'),
    fc.constantFrom(...nastyTexts),
    fc.string({ unit: 'binary', maxLength: 20 }),
  );
  const texts = fc.array(pieces, { maxLength: 30 }).map((parts) => Buffer.from(parts.join('')));
  const bytes = fc.uint8Array({ maxLength: 300 }).map((given) => Buffer.from(given));
  const contents = fc.oneof(texts, bytes, texts.map(gzipSync), bytes.map(gzipSync));
  const formats = fc.constantFrom<RecordFormat>('csv', 'ndjson');
  const property = fc.asyncProperty(contents, formats, async (content, format) => {
    try {
      const records = await read(content, format);
      records.forEach(({ fields }) => expect(Object.getPrototypeOf(fields)).toBe(Object.prototype));
    } catch (error) {
      expect((error as ConvoyError).code).toBe('CVY_FILE');
    }
  });
  await fc.assert(property, runs(400));
  expect(isUnpolluted()).toBe(true);
});

test('CSV: what was written comes back, whatever the cells and the ends of lines', async () => {
  const cell = fc.oneof(
    fc.constantFrom(...nastyTexts, '', 'a\nb', 'a\rb', 'a\r\nb', '"', 'a,b', 'a\0b'),
    fc.string({ unit: 'grapheme', maxLength: 20 }),
  );
  const line = fc.tuple(fc.array(cell, { minLength: 3, maxLength: 3 }), fc.nat(2));
  const property = fc.asyncProperty(fc.array(line, { maxLength: 8 }), async (lines) => {
    const ends = ['\n', '\r\n', '\r'];
    const columns = ['__proto__', 'constructor', 'k'];
    const text = [[columns, 0] as const, ...lines]
      .map(([cells, end]) => cells.map(quoted).join(',') + ends[end])
      .join('');
    const records = await read(text, 'csv');
    const cells = records.map(({ fields }) => columns.map((column) => ownOf(fields, column)));
    expect(cells).toEqual(lines.map(([values]) => values));
  });
  await fc.assert(property, runs(200));
});

const ownOf = (fields: Record<string, unknown>, name: string): unknown =>
  Object.getOwnPropertyDescriptor(fields, name)?.value;

describe('CSV is refused', () => {
  test.each([
    ['a column twice', 'k,a,k\n1,2,3\n', /^F: the column k stands there twice/],
    ['a cell missing', 'k,a\n1,2\n3\n', /^F: row 2: /],
    ['a cell too many', 'k,a\n1,2\n3,4,5\n', /^F: row 2: /],
    ['a quote that never closes', `k,a\n1,2\n"3,${'x'.repeat(100)}\n4,5\n`, /^F: row 2: /],
    ['a quote in the middle', 'k,a\n1,2"3\n', /^F: row 1: /],
    ['not UTF-8', Buffer.from([0x6b, 0x0a, 0xc3, 0x28]), /not UTF-8/],
    ['UTF-16', Buffer.from('\ufeffk,a\n1,2\n', 'utf16le'), /not UTF-8/],
    ['cut inside a character', Buffer.from('k\n👍').subarray(0, 4), /inside a UTF-8 character/],
  ])('%s', async (_, content, said) => {
    expect(await refusal(content, 'csv')).toMatch(said);
  });
});

describe('NDJSON is refused', () => {
  const levels = `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
  test.each([
    ['a line that is no JSON', '{"k":1}\n{k:2}\n', /^F: row 2: /],
    ['a line cut off', '{"k":1}\n{"k":', /^F: row 2: /],
    ['a list', '{"k":1}\n[1]\n', /^F: row 2 is not a JSON object/],
    ['a number that keeps its digits', '{"k":1}\n1e5\n', /^F: row 2 is not a JSON object/],
    ['null', 'null\n', /^F: row 1 is not a JSON object/],
    ['10^5 levels', `{"k":1}\n${levels}\n`, /^F: row 2: it nests too deeply/],
    ['a NUL between lines', '{"k":1}\n\0\n', /^F: row 2: /],
  ])('%s', async (_, content, said) => {
    expect(await refusal(content, 'ndjson')).toMatch(said);
  });
});

describe('gzip', () => {
  const text = Array.from({ length: 500 }, (_, at) => `{"k":"${at}"}\n`).join('');
  const packed = gzipSync(text);

  test.each([1, 5, 11, 40, packed.length - 9, packed.length - 1])('cut at byte %i', async (at) => {
    expect(await refusal(packed.subarray(0, at), 'ndjson')).toMatch(/^F: /);
  });

  test('with a byte changed, or something behind it', async () => {
    const changed = Buffer.from(packed);
    changed[packed.length - 6] = (changed[packed.length - 6] ?? 0) ^ 1;
    expect(await refusal(changed, 'ndjson')).toMatch(/^F: /);
    expect(await read(Buffer.concat([packed, packed]), 'ndjson')).toHaveLength(1_000);
  });
});

describe('memory', () => {
  const mebibyte = 1024 * 1024;

  /** Highest resident memory over the start while the file is read, and the fault if any. */
  async function peakOf(path: string, format: RecordFormat) {
    const started = process.memoryUsage().rss;
    let peak = 0;
    const look = setInterval(() => {
      peak = Math.max(peak, process.memoryUsage().rss - started);
    }, 5);
    let records = 0;
    try {
      for await (const _ of readRecords({ path, name: 'F', format })) records += 1;
      return { records, fault: '', mebibytes: peak / mebibyte };
    } catch (error) {
      return { records, fault: (error as ConvoyError).received, mebibytes: peak / mebibyte };
    } finally {
      clearInterval(look);
    }
  }

  async function bomb(chunks: Iterable<Buffer>): Promise<string> {
    const path = nextPath();
    await pipeline(Readable.from(chunks), createGzip({ level: 1 }), createWriteStream(path));
    return path;
  }

  function* repeated(head: string, piece: Buffer, times: number): Generator<Buffer> {
    yield Buffer.from(head);
    for (let left = times; left > 0; left--) yield piece;
  }

  const letters = Buffer.alloc(mebibyte, 'x');
  test.each<[string, RecordFormat, string]>([
    ['a line of 100 MB', 'ndjson', '{"k":"'],
    ['a cell of 100 MB', 'csv', 'k\n"'],
    ['a header of 100 MB', 'csv', ''],
  ])('%s is refused, not gathered', async (_, format, head) => {
    const path = await bomb(repeated(head, letters, 100));
    const { records, fault, mebibytes } = await peakOf(path, format);
    expect([records, fault]).toEqual([0, expect.stringMatching(/line|record|size/i)]);
    expect(mebibytes).toBeLessThan(250);
  });

  test('a bomb of 50 MB in small records is read in little memory', async () => {
    const lines = Buffer.from(`{"k":"${'x'.repeat(4_000)}"}\n`.repeat(256));
    const path = await bomb(repeated('', lines, 50));
    const { records, mebibytes } = await peakOf(path, 'ndjson');
    expect(records).toBe(50 * 256);
    expect(mebibytes).toBeLessThan(150);
  });
});
