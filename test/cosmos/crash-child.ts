// A server in a process of its own, to be killed. Prints its connection string.
import { startCosmos } from '../../infra/local/cosmos/server.ts';

const [file = ':memory:'] = process.argv.slice(2);
const server = await startCosmos({ file, port: 0 });
process.stdout.write(`${server.connectionString}\n`);
