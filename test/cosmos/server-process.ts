// A server in a process of its own, for tests that kill it.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

const program = new URL('crash-child.ts', import.meta.url).pathname;

export class ServerProcess implements AsyncDisposable {
  readonly connectionString: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, connectionString: string) {
    this.#child = child;
    this.connectionString = connectionString;
  }

  static async start(file: string, prefix: readonly string[] = []): Promise<ServerProcess> {
    const rest = prefix.length > 0 ? [...prefix.slice(1), process.execPath] : [];
    const child = spawn(prefix[0] ?? process.execPath, [...rest, program, file], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    if (!child.stdout) throw new Error('no output');
    const [connectionString] = (await once(createInterface(child.stdout), 'line')) as [string];
    return new ServerProcess(child, connectionString);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }
}
