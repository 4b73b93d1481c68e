// Runs seeds of a scenario against broken code. Each job loads the compiled modules anew, under a
// query of its own, and its edits are applied while they load: nothing is written to the disk, and
// one process serves many mutants.
import { registerHooks } from 'node:module';
import type { Violation } from './scenarios/scenario.ts';
import { type Edit, applyEdits, distUrl } from './mutant.ts';

export interface Job {
  id: number;
  edits: Edit[];
  scenario: string;
  from: number;
  count: number;
}

export type Answer =
  | { id: number; kind: 'running'; seed: number }
  | { id: number; kind: 'found'; seed: number; violations: Violation[] }
  | { id: number; kind: 'survived' }
  | { id: number; kind: 'failed'; reason: string };

const edits = new Map<string, Edit[]>();

/** The job that a module was loaded for. */
const jobOf = (url: string | undefined): string | undefined =>
  url === undefined ? undefined : (new URL(url).searchParams.get('job') ?? undefined);

registerHooks({
  resolve(specifier, context, next) {
    const resolved = next(specifier, context);
    const job = jobOf(context.parentURL);
    const isOurs = resolved.url.startsWith(distUrl.href);
    return job !== undefined && isOurs
      ? { ...resolved, url: `${resolved.url}?job=${job}` }
      : resolved;
  },
  load(url, context, next) {
    const loaded = next(url, context);
    const [path = ''] = url.split('?');
    const file = path.slice(distUrl.href.length);
    const mine = edits.get(jobOf(url) ?? '')?.filter((edit) => edit.file === file) ?? [];
    if (mine.length === 0) return loaded;
    return { ...loaded, source: applyEdits(String(loaded.source), mine) };
  },
});

interface ScenarioModule {
  runScenario(name: string, seed: number): Promise<Violation[]>;
}

async function perform(job: Job, tell: (answer: Answer) => void): Promise<Answer> {
  const { id, from, count } = job;
  edits.set(String(id), job.edits);
  const url = new URL(`test/mutation/scenarios/list.js?job=${id}`, distUrl);
  const { runScenario } = (await import(url.href)) as ScenarioModule;
  for (let seed = from; seed < from + count; seed += 1) {
    tell({ id, kind: 'running', seed });
    const violations = await runScenario(job.scenario, seed);
    if (violations.length > 0) return { id, kind: 'found', seed, violations };
  }
  return { id, kind: 'survived' };
}

// What a broken rule throws in a task that nobody awaits is part of its history, not the end of it.
process.on('unhandledRejection', () => undefined);

process.on('message', (job: Job) => {
  const tell = (answer: Answer): void => void process.send?.(answer);
  perform(job, tell).then(tell, (error: unknown) =>
    tell({
      id: job.id,
      kind: 'failed',
      reason: error instanceof Error ? String(error.stack) : String(error),
    }),
  );
});
