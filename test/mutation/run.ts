// Runs mutants in child processes, so many at a time. A child that hangs in a loop of broken code
// is killed by its id and replaced; its mutant counts as found by that.
import { type ChildProcess, fork } from 'node:child_process';
import type { Answer, Job } from './child.ts';
import { type Edit, type Mutant, distUrl } from './mutant.ts';
import type { Violation } from './scenarios/scenario.ts';

export interface Task {
  edits: Edit[];
  scenario: string;
  count: number;
}

export const taskOf = ({ edits, scenario, seedsMax }: Mutant): Task => ({
  edits,
  scenario,
  count: seedsMax,
});

/** The right code against every seed that these mutants may meet. */
export function controlsOf(mutants: readonly Mutant[]): Task[] {
  const counts = new Map<string, number>();
  for (const { scenario, seedsMax } of mutants)
    counts.set(scenario, Math.max(counts.get(scenario) ?? 0, seedsMax));
  return [...counts].map(([scenario, count]) => ({ edits: [], scenario, count }));
}

export type Result =
  { kind: 'found'; seed: number; violations: Violation[] } | { kind: 'survived' };

/** A seed takes milliseconds; a child that says nothing for so long never will. */
const silentMsMax = 60_000;

/** The result of each task, in their order. Rejects when a child cannot run its task at all. */
export async function runTasks(
  tasks: readonly Task[],
  options: { atOnce: number; onResult?: (index: number, result: Result) => void },
): Promise<Result[]> {
  const results: Result[] = [];
  let next = 0;
  const serve = async (): Promise<void> => {
    let child = await startChild();
    try {
      while (next < tasks.length) {
        const index = next;
        next += 1;
        const task = tasks[index];
        if (task === undefined) return;
        const result = await runTask(child, { id: index, from: 1, ...task });
        results[index] = result.result;
        options.onResult?.(index, result.result);
        if (result.hasHung) child = await startChild();
      }
    } finally {
      child.kill('SIGKILL');
    }
  };
  await Promise.all(Array.from({ length: options.atOnce }, serve));
  return results;
}

async function startChild(): Promise<ChildProcess> {
  const path = new URL('test/mutation/child.js', distUrl);
  return fork(path, {
    execPath: process.execPath,
    execArgv: [],
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
}

function runTask(child: ChildProcess, job: Job): Promise<{ result: Result; hasHung: boolean }> {
  return new Promise((resolve, reject) => {
    let seed = job.from;
    let silence: NodeJS.Timeout;
    const end = (): void => {
      clearTimeout(silence);
      child.off('message', hear).off('exit', gone);
    };
    const hung = (): void => {
      end();
      child.kill('SIGKILL');
      const violations = [{ oracle: 'ends', message: `no end within ${silentMsMax} ms` }];
      resolve({ result: { kind: 'found', seed, violations }, hasHung: true });
    };
    const gone = (): void => {
      end();
      reject(new Error(`the child ended with seed ${seed} of ${JSON.stringify(job.edits)}`));
    };
    const hear = (answer: Answer): void => {
      clearTimeout(silence);
      silence = setTimeout(hung, silentMsMax);
      if (answer.kind === 'running') {
        seed = answer.seed;
        return;
      }
      end();
      if (answer.kind === 'failed') reject(new Error(answer.reason));
      else if (answer.kind === 'survived')
        resolve({ result: { kind: 'survived' }, hasHung: false });
      else resolve({ result: { ...answer }, hasHung: false });
    };
    silence = setTimeout(hung, silentMsMax);
    child.on('message', hear).on('exit', gone);
    child.send(job);
  });
}
