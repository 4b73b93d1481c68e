// `convoy send`: a file onto a convoy's queue, in its order, all of it or nothing.
//
// E1. The file is read twice: first every record is checked, then it is sent. A record that is
//     refused is named and nothing is sent, so the mended file can be sent without doubles.
// E2. Without --id the id is made from the hash of the whole content and the record's number:
//     sending the same file again is harmless.
import { createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { realClock } from '../../shared/clock.ts';
import { ConvoyError } from '../../shared/errors.ts';
import { stamp } from '../../shared/outgoing.ts';
import { createSender, lanesFrom } from '../../shared/sender.ts';
import type { KeyedMessage, LaneSource, Sender } from '../../shared/sender.ts';
import { serviceBusAddress } from '../../shared/service-bus.ts';
import type { ServiceBusAddress } from '../../shared/service-bus.ts';
import { cloudAddressOn, defaultPorts } from '../local/address.ts';
import { readStackAddress } from '../local/data-folder.ts';
import { apiUrl } from './api.ts';
import { exitCodes, note, printJson, printLine, WrongUse } from './output.ts';
import { openProgress } from './progress.ts';
import { contentHash, formatOf, readRecords } from './records.ts';
import type { FileRecord, RecordFile, RecordFormat } from './records.ts';
import { typeDefault } from './send.ts';
import type { SendFlags } from './send.ts';

const faultsShownMax = 10;

/** Sends the file; resolves with the exit code. */
export async function sendFile(convoy: string, flags: SendFlags): Promise<number> {
  const format = chosenFormat(flags);
  await using file = await openInput(flags.file, format);
  await using sender = createSender(addressOf(flags), {
    connectWithinMs: flags.patience * 1000,
    ...lanesOf(flags),
  });
  const sizeLimit = await sender.sizeLimit(convoy);
  const checked = await check(file, flags, sizeLimit);
  const startedAt = realClock.now();
  await feed({ convoy, flags, sender, file, ...checked });
  const seconds = Math.max(realClock.now() - startedAt, 1) / 1000;
  if (flags.json) printJson({ convoy, sent: checked.total, seconds });
  else {
    const perSecond = Math.round(checked.total / seconds);
    printLine(`sent ${checked.total} messages to ${convoy} in ${seconds} s (${perSecond}/s)`);
  }
  return exitCodes.ok;
}

/** Only who names lanes or the app needs the app to run: without, a key is one session. */
function lanesOf(flags: SendFlags): { lanes?: LaneSource } {
  if (flags.lane === undefined && flags.url === undefined) return {};
  const code = flags.code ?? process.env['CONVOY_CODE'];
  return { lanes: lanesFrom(apiUrl(flags), code === undefined ? {} : { code }) };
}

function chosenFormat(flags: SendFlags): RecordFormat {
  const format = flags.format ?? formatOf(flags.file);
  if (format === 'csv' || format === 'ndjson') return format;
  throw new WrongUse(
    flags.format
      ? `--format ${flags.format}: csv and ndjson are known`
      : `the name ${flags.file} tells no format, say --format csv or --format ndjson`,
  );
}

/** --connection, --namespace, the environment, the stack on the data folder, the default ports. */
function addressOf(flags: SendFlags): ServiceBusAddress {
  if (flags.connection && flags.namespace) {
    throw new WrongUse('--connection and --namespace exclude each other');
  }
  if (flags.connection) return { connectionString: flags.connection };
  if (flags.namespace) return { fullyQualifiedNamespace: flags.namespace };
  const { env } = process;
  if (env['ServiceBusConnection'] || env['ServiceBusConnection__fullyQualifiedNamespace']) {
    return serviceBusAddress(env);
  }
  const local = readStackAddress(flags.data) ?? cloudAddressOn(defaultPorts);
  return { connectionString: local.serviceBus };
}

/** Standard input is put into a temporary file: it must be read twice [E1]. */
async function openInput(
  path: string,
  format: RecordFormat,
): Promise<RecordFile & AsyncDisposable> {
  if (path !== '-') return { path, name: path, format, [Symbol.asyncDispose]: async () => {} };
  const folder = mkdtempSync(join(tmpdir(), 'convoy-send-'));
  const copy = join(folder, 'stdin');
  await pipeline(process.stdin, createWriteStream(copy));
  return {
    path: copy,
    name: 'standard input',
    format,
    [Symbol.asyncDispose]: async () => rmSync(folder, { recursive: true, force: true }),
  };
}

interface Checked {
  total: number;
  idPrefix: string;
}

async function check(file: RecordFile, flags: SendFlags, sizeLimit: number): Promise<Checked> {
  const hash = contentHash();
  const faults: ConvoyError[] = [];
  let faultCount = 0;
  let total = 0;
  for await (const record of readRecords(file, hash)) {
    if (total === 0) assertColumns(file, flags, record);
    total += 1;
    try {
      const { key, ...message } = messageOf(record, flags, 'unchecked');
      const { body } = stamp(key, { ...message, id: message.id ?? 'unchecked' });
      if (body.length > sizeLimit) {
        throw new ConvoyError(
          'CVY_BODY_TOO_LARGE',
          `a body of ${body.length} bytes, the broker takes ${sizeLimit} in all`,
        );
      }
    } catch (error) {
      if (!(error instanceof ConvoyError)) throw error;
      faultCount += 1;
      const fault = new ConvoyError(error.code, `row ${record.number}: ${error.received}`);
      if (faults.length < faultsShownMax) faults.push(fault);
    }
  }
  const [first, ...others] = faults;
  if (!first) return { total, idPrefix: hash.digest('hex').slice(0, 32) };
  for (const fault of others) note(fault.message);
  if (faultCount > faults.length) note(`and ${faultCount - faults.length} more rows`);
  note(`nothing of ${file.name} was sent`);
  throw first;
}

function assertColumns(file: RecordFile, flags: SendFlags, first: FileRecord): void {
  if (file.format !== 'csv') return;
  const columns = Object.keys(first.fields);
  const asked = [flags.key, flags.id, flags.type, flags.time, flags.position, flags.lane];
  const missing = asked.find((name) => name !== undefined && !columns.includes(name));
  if (missing === undefined) return;
  throw new ConvoyError(
    'CVY_FILE',
    `${file.name} has no column ${missing}; it has ${columns.join(', ')}`,
  );
}

function messageOf(record: FileRecord, flags: SendFlags, idPrefix: string): KeyedMessage {
  // What a record inherits is none of its columns.
  const text = (column: string): string =>
    Object.hasOwn(record.fields, column) ? textOf(record.fields[column]) : '';
  const given = (column: string | undefined): string | undefined => {
    const value = column === undefined ? '' : text(column);
    return value === '' ? undefined : value;
  };
  const position = given(flags.position);
  return {
    key: text(flags.key),
    id: flags.id === undefined ? `${idPrefix}-${record.number}` : text(flags.id),
    type: flags.type === undefined ? typeDefault : text(flags.type),
    body: record.fields,
    occurredAt: given(flags.time),
    senderPosition: position === undefined ? undefined : Number(position),
    laneKey: given(flags.lane),
  };
}

/** A cell as text: NDJSON may hold numbers where a key, id or type is asked. */
function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  if (value === undefined || value === null) return '';
  return JSON.stringify(value);
}

interface Feed extends Checked {
  convoy: string;
  flags: SendFlags;
  sender: Sender;
  file: RecordFile;
}

async function feed({ convoy, flags, sender, file, total, idPrefix }: Feed): Promise<void> {
  const progress = openProgress('sent', total, process.stderr.isTTY && !flags.json);
  let latest = 0;
  async function* messages(): AsyncGenerator<KeyedMessage> {
    for await (const record of readRecords(file)) {
      latest = record.number;
      yield messageOf(record, flags, idPrefix);
    }
  }
  try {
    await sender.sendAll(convoy, messages(), { onProgress: ({ sent }) => progress.show(sent) });
  } catch (error) {
    if (!(error instanceof ConvoyError) || error.code !== 'CVY_BODY_TOO_LARGE') throw error;
    throw new ConvoyError(error.code, `row ${latest}: ${error.received}`, { cause: error });
  } finally {
    progress.end();
  }
}
