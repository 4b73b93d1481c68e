// `convoy …`: the command line. One file per family of commands; here what all have in common.
//
// Owns:   --json, exit codes, one line per error.
// Leaves: every command to infra/cli/, and loads the stack only for those that run it.
import { Command, CommanderError } from 'commander';
import { addLanesCommand } from './cli/lanes.ts';
import { addOperateCommands } from './cli/operate.ts';
import { exitCodeOf, exitCodes, printError } from './cli/output.ts';
import { addRecoveryCommands } from './cli/recovery.ts';
import { addSendCommand } from './cli/send.ts';
import { addServeCommands } from './cli/serve.ts';
import { addSimulateCommand } from './cli/simulate.ts';
import { addVerifyCommand } from './cli/verify.ts';

const description = `Ordered, per-key message processing on Azure, and a local stack to run it on.

Exit codes: 0 ok, 1 the answer is no, 2 wrong use, 3 unreachable.`;

const examples = `
Examples:
  convoy dev                                    stack and app on http://localhost:7071
  convoy send orders --file orders.csv --key order_id --type event --time at
  convoy list --status held                     keys that wait for somebody
  convoy show orders A-17 --messages            what happened to one key`;

function program(ended: (code: number) => void): Command {
  const convoy = new Command('convoy')
    .description(description)
    .option('--json', 'answer in JSON, errors too')
    .addHelpText('after', examples)
    .showHelpAfterError('(convoy --help, or convoy <command> --help, shows what is known)')
    .exitOverride();
  addServeCommands(convoy, import.meta.filename, ended);
  addSendCommand(convoy, ended);
  addOperateCommands(convoy, ended);
  addRecoveryCommands(convoy, ended);
  addVerifyCommand(convoy, ended);
  addLanesCommand(convoy, ended);
  addSimulateCommand(convoy, ended);
  for (const command of convoy.commands) command.exitOverride().showHelpAfterError(false);
  return convoy;
}

async function main(argv: readonly string[]): Promise<number> {
  let code: number = exitCodes.ok;
  // Timers of our clock keep no process alive, so a command that waits for one is kept here.
  const anchor = setInterval(() => {}, 60_000);
  try {
    await program((ended) => (code = ended)).parseAsync([...argv]);
  } catch (error) {
    if (error instanceof CommanderError) {
      code = error.exitCode === 0 ? exitCodes.ok : exitCodes.wrongUse;
    } else {
      printError(error, argv.includes('--json'));
      code = exitCodeOf(error);
    }
  } finally {
    clearInterval(anchor);
  }
  return code;
}

// An older Node has handed over to this one (infra/convoy.mjs): its end is ours, in order.
if (process.env['CONVOY_HANDED_OVER']) {
  delete process.env['CONVOY_HANDED_OVER'];
  process.on('disconnect', () => process.kill(process.pid, 'SIGTERM'));
  process.channel?.unref();
}
for (const stream of [process.stdout, process.stderr]) {
  // `convoy list | head`: the reader is gone, which is no fault of ours.
  stream.on('error', () => {});
}
process.exit(await main(process.argv));
