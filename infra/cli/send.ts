// `convoy send`: its flags. What it does with them is in send-file.ts.
import type { Command } from 'commander';
import { wholeNumber } from './serve.ts';
import type { Global } from './serve.ts';

export interface SendFlags extends Global {
  file: string;
  format?: string;
  key: string;
  id?: string;
  type?: string;
  time?: string;
  position?: string;
  lane?: string;
  url?: string;
  code?: string;
  connection?: string;
  namespace?: string;
  patience: number;
  data: string;
}

/** The type of a message whose file has no column for it. */
export const typeDefault = 'message';

export function addSendCommand(program: Command, ended: (code: number) => void): void {
  program
    .command('send')
    .description('enqueue a file: order per key = order in the file, body = the whole row')
    .argument('<convoy>')
    .requiredOption('--file <file>', 'CSV or NDJSON, .gz too, - = standard input')
    .option('--format <format>', 'csv or ndjson; default: by the name of the file')
    .requiredOption('--key <column>', 'column of the key')
    .option('--id <column>', "column of the id; default: made from the file's hash and the row")
    .option('--type <column>', `column of the type; default: the type "${typeDefault}"`)
    .option('--time <column>', 'column of the event time, ISO-8601 with a zone')
    .option('--position <column>', "column of the sender's own position in the key, from 1")
    .option('--lane <column>', 'column of the lane key; the layout of the lanes comes from --url')
    .option('--url <url>', 'address of the app: sends to the lanes of split keys')
    .option('--code <key>', 'function key of the app; default: CONVOY_CODE')
    .option('--connection <string>', 'Service Bus connection string; or set ServiceBusConnection')
    .option('--namespace <name>', 'fully qualified namespace, with DefaultAzureCredential')
    .option('--patience <seconds>', 'how long to wait for the first answer', wholeNumber(0), 10)
    .option('--data <dir>', 'data folder of the local stack', '.convoy')
    .action(async (convoy: string, _, command: Command) => {
      // The Service Bus client is loaded by this command only.
      const { sendFile } = await import('./send-file.ts');
      ended(await sendFile(convoy, command.optsWithGlobals<SendFlags>()));
    });
}
