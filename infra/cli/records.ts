// The file of `convoy send`: read record by record, never held whole.
//
// Owns:   gzip, UTF-8, CSV and NDJSON, record numbers, the hash that ids are made from.
// Leaves: what a record becomes to send.ts.
//
// F1. Numbers of NDJSON travel digit by digit: what a JavaScript number would round stays as it was
//     written.
// F2. A record that cannot be read is named by its number, and reading ends with it.
import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { createReadStream, openSync, readSync, closeSync } from 'node:fs';
import { Transform } from 'node:stream';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { CsvError, parse } from 'csv-parse';
import { ConvoyError, reasonOf } from '../../shared/errors.ts';

export type RecordFormat = 'csv' | 'ndjson';

/** One record of a file; `number` counts from 1, without the header of a CSV file. */
export interface FileRecord {
  number: number;
  fields: Record<string, unknown>;
}

export interface RecordFile {
  path: string;
  /** What to call it in an error. */
  name: string;
  format: RecordFormat;
}

const lineLengthMax = 16 * 1024 * 1024;

/** The format that a file's name tells, if it does. */
export function formatOf(path: string): RecordFormat | undefined {
  const name = path.toLowerCase().replace(/\.gz$/, '');
  if (name.endsWith('.csv')) return 'csv';
  return /\.(ndjson|jsonl|json)$/.test(name) ? 'ndjson' : undefined;
}

/** Reads the records in their order; `hash` is fed the content as it is after decompression. */
export async function* readRecords(file: RecordFile, hash?: Hash): AsyncGenerator<FileRecord> {
  const source = openText(file, hash);
  try {
    if (file.format === 'csv') yield* csvRecords(source, file.name);
    else yield* ndjsonRecords(source, file.name);
  } catch (error) {
    throw error instanceof ConvoyError ? error : fault(file.name, reasonOf(error), error);
  } finally {
    source.destroy();
  }
}

export function contentHash(): Hash {
  return createHash('sha256');
}

/** Decompressed and decoded; gzip is known by its first bytes: standard input has no name. */
function openText(file: RecordFile, hash: Hash | undefined): Readable {
  const stages = isGzip(file) ? [createGunzip()] : [];
  const source = createReadStream(file.path);
  const text = [...stages, decoder(file.name, hash)].reduce<Readable>((from, stage) => {
    from.on('error', (error) => stage.destroy(error));
    stage.on('close', () => from.destroy());
    return from.pipe(stage);
  }, source);
  return text;
}

function isGzip({ path, name }: RecordFile): boolean {
  try {
    const descriptor = openSync(path, 'r');
    const start = Buffer.alloc(2);
    readSync(descriptor, start, 0, 2, 0);
    closeSync(descriptor);
    return start[0] === 0x1f && start[1] === 0x8b;
  } catch (error) {
    throw fault(name, reasonOf(error), error);
  }
}

function decoder(name: string, hash: Hash | undefined): Transform {
  const utf8 = new TextDecoder('utf-8', { fatal: true });
  return new Transform({
    readableObjectMode: false,
    decodeStrings: false,
    transform(chunk: Buffer, _, done) {
      try {
        hash?.update(chunk);
        done(undefined, utf8.decode(chunk, { stream: true }));
      } catch {
        done(fault(name, 'the file is not UTF-8'));
      }
    },
    flush(done) {
      try {
        done(undefined, utf8.decode());
      } catch {
        done(fault(name, 'the file ends inside a UTF-8 character'));
      }
    },
  });
}

async function* csvRecords(source: Readable, name: string): AsyncGenerator<FileRecord> {
  const parser = parse({
    bom: true,
    skip_empty_lines: true,
    // Guessed from the first line, another end of line would become part of the last cell.
    record_delimiter: ['\r\n', '\n', '\r'],
    max_record_size: lineLengthMax,
  });
  source.on('error', (error) => parser.destroy(error));
  source.pipe(parser);
  let columns: readonly string[] | undefined;
  let number = 0;
  try {
    for await (const cells of parser as AsyncIterable<string[]>) {
      if (columns === undefined) columns = columnsOf(cells, name);
      else {
        number += 1;
        // Not by assignment, which would lose a column called __proto__.
        const pairs = columns.map((column, at) => [column, cells[at]]);
        yield { number, fields: Object.fromEntries(pairs) as Record<string, unknown> };
      }
    }
  } catch (error) {
    if (error instanceof ConvoyError) throw error;
    // The parser is ahead of what was read from it, and counts the header.
    const at = error instanceof CsvError ? Number(error['records']) : number + 1;
    const place = at > 0 ? `row ${at}` : 'the header';
    throw fault(name, `${place}: ${reasonOf(error)}`, error);
  }
}

function columnsOf(names: readonly string[], file: string): readonly string[] {
  const twice = names.find((column, at) => names.indexOf(column) !== at);
  if (twice !== undefined) throw fault(file, `the column ${twice} stands there twice`);
  return names;
}

async function* ndjsonRecords(source: Readable, name: string): AsyncGenerator<FileRecord> {
  let number = 0;
  for await (const line of linesOf(source, name)) {
    number += 1;
    if (line.trim() === '') continue;
    let fields: unknown;
    try {
      fields = parseExactly(line);
    } catch (error) {
      const reason = error instanceof RangeError ? 'it nests too deeply' : reasonOf(error);
      throw fault(name, `row ${number}: ${reason}`, error);
    }
    if (!isPlainObject(fields)) {
      throw fault(name, `row ${number} is not a JSON object`);
    }
    yield { number, fields };
  }
}

/** A raw number is an object too [F1], but not one that JSON.parse made. */
function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  return Object.getPrototypeOf(value) === Object.prototype;
}

/** Not node:readline: it breaks lines at U+2028, which JSON allows inside a text. */
async function* linesOf(source: Readable, name: string): AsyncGenerator<string> {
  let rest = '';
  let isFirst = true;
  for await (const chunk of source.setEncoding('utf8') as AsyncIterable<string>) {
    const text = isFirst ? chunk.replace(/^\ufeff/, '') : chunk;
    isFirst = false;
    // Only what is new is searched: a long line would be searched again with every chunk.
    const [head = '', ...lines] = text.split('\n');
    rest += head;
    if (rest.length > lineLengthMax)
      throw fault(name, `a line has over ${lineLengthMax} characters`);
    const last = lines.pop();
    if (last === undefined) continue;
    yield rest;
    yield* lines;
    rest = last;
  }
  if (rest !== '') yield rest;
}

// In Node from 21 on, not yet in the type library: raw numbers, and their text in the reviver.
const exactJson = JSON as unknown as {
  parse(
    text: string,
    reviver: (key: string, value: unknown, at: { source?: string }) => unknown,
  ): unknown;
  rawJSON(text: string): unknown;
};

/** A JSON text whose numbers keep their digits [F1]. */
function parseExactly(line: string): unknown {
  return exactJson.parse(line, (_, value, { source }) =>
    typeof value === 'number' && source !== undefined && String(value) !== source
      ? exactJson.rawJSON(source)
      : value,
  );
}

function fault(name: string, what: string, cause?: unknown): ConvoyError {
  return new ConvoyError('CVY_FILE', `${name}: ${what}`, { cause });
}
