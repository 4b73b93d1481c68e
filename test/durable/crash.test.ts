// `kill -9` at random moments.
//
// Goal:   after any number of deaths every instance ends once with the right result, every activity
//         has run at least once, and entities have counted everything exactly once.
// Method: a child process with a hub on a file is killed after a random number of its steps, again
//         and again, then lives until all is done. `SEED=n` repeats a run; `HUB_CRASH_SEEDS=20
//         HUB_CRASH_INSTANCES=200` is the long form.
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Status } from './hub-under-test.ts';
import { randomFrom } from './random.ts';

interface Life {
  child: ChildProcess;
  died: Promise<unknown>;
}

/** One life of the child; it is killed after so many printed steps, or when nothing is left to do:
 *  an earlier life may have got so far that every instance has ended. */
function live(folder: string, instances: number, stepsUntilKill: number): Life {
  const args = [join(folder, 'hub.sqlite'), join(folder, 'notes'), String(instances)];
  const script = join(import.meta.dirname, 'crash-child.ts');
  const child = fork(script, args, { stdio: ['ignore', 'pipe', 'inherit', 'ipc'], execArgv: [] });
  let steps = 0;
  const isMeantToDie = Number.isFinite(stepsUntilKill);
  const silence = setTimeout(() => isMeantToDie && child.kill('SIGKILL'), 3_000);
  child.once('exit', () => clearTimeout(silence));
  child.stdout?.on('data', (piece: Buffer) => {
    silence.refresh();
    steps += piece.toString('utf8').split('\n').length - 1;
    if (steps >= stepsUntilKill) child.kill('SIGKILL');
  });
  return { child, died: once(child, 'exit') };
}

interface Report {
  instances: Status[];
  entities: { entityId: { key: string }; state: number }[];
  ends: Record<string, number>;
}

function messageOf<T>(child: ChildProcess, accepts: (message: T) => boolean): Promise<T> {
  return new Promise((resolve) => {
    child.on('message', function listen(message) {
      if (!accepts(message as T)) return;
      child.off('message', listen);
      resolve(message as T);
    });
  });
}

/** Lives until every instance has ended. */
async function lastLife(folder: string, instances: number): Promise<Report> {
  const { child, died } = live(folder, instances, Number.POSITIVE_INFINITY);
  await messageOf<{ ready?: boolean }>(child, ({ ready }) => ready === true);
  for (;;) {
    const answer = messageOf<Report>(child, (message) => 'instances' in message);
    child.send('report');
    const report = await answer;
    if (report.instances.length === instances) {
      child.kill('SIGKILL');
      await died;
      return report;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const parts = ['first', 'a', 'b', 'child'] as const;
const instances = Number(process.env['HUB_CRASH_INSTANCES'] ?? 12);
const seedCount = Number(process.env['HUB_CRASH_SEEDS'] ?? 1);
const firstSeed = Number(process.env['SEED'] ?? 7);
const seeds = Array.from({ length: seedCount }, (_, k) => firstSeed + k);
const stepsPerInstance = 60;

test.each(seeds)(
  'kill -9 loses and doubles nothing (seed %i)',
  { timeout: 240_000 },
  async (seed) => {
    const random = randomFrom(seed);
    const folder = mkdtempSync(join(tmpdir(), 'convoy-hub-'));
    const lives = 5;
    for (let life = 0; life < lives; life++) {
      const share = random() * ((instances * stepsPerInstance) / lives);
      await live(folder, instances, instances + Math.floor(share)).died;
    }
    const report = await lastLife(folder, instances);

    const notes = readFileSync(join(folder, 'notes'), 'utf8').split('\n');
    const ran = new Set(notes);
    for (const { instanceId, runtimeStatus, output } of report.instances) {
      const wanted = [0, 1, 2].flatMap((generation) => {
        const [first, a, b, child] = parts.map((part) => `${instanceId}/${generation}/${part}`);
        return [first, a, b, 1, child, ...(generation === 0 ? ['go'] : [])];
      });
      expect({ runtimeStatus, output }).toEqual({ runtimeStatus: 'Completed', output: wanted });
      expect(report.ends[instanceId]).toBe(1);
      expect(notes.filter((line) => line === `ended ${instanceId}`).length).toBeLessThan(2);
      for (const name of wanted.filter((text) => text !== 'go' && text !== 1)) {
        expect(ran.has(`ran ${name}`)).toBe(true);
      }
    }
    const tallies = new Map(report.entities.map(({ entityId, state }) => [entityId.key, state]));
    const total = instances * 3;
    const called = [0, 1, 2, 3, 4].reduce((sum, k) => sum + (tallies.get(`called-${k}`) ?? 0), 0);
    expect([tallies.get('signalled'), called]).toEqual([total, total]);
    expect([tallies.get('left'), tallies.get('right')]).toEqual([-total, total]);
    rmSync(folder, { recursive: true });
  },
);
