// The whole stack for minutes or hours under steady, disturbed load: does it stay as it is?
//
// npm run soak -- [--minutes M] [--seed S] [--kill] [--orders-per-second N] [--meters-per-second N]
//                 [--verbose]
//
// Load: waves of the sample stream, each judged by its own observer, and readings of keys that live
// on (windows that close, late values, poison that heals, repeats, pauses by an operator). The
// fault ports of the cloud are open and used. Exit 0 only when nothing was lost, doubled or out of
// order, all keys come to rest, every chain verifies, and memory, handles and files are flat.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as pause } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import type { Verdict } from '../../infra/local/sample/judge.ts';
import { Fleet } from '../crash/fleet.ts';
import type { QueueConfig } from '../crash/fleet.ts';
import { Api, runConvoy } from '../support/doors.ts';
import { prng } from '../support/prng.ts';
import { Disturbance } from './disturbance.ts';
import { MetersLoad } from './meters-load.ts';
import type { MeterCounts } from './meters-load.ts';
import { Recorder, grows, shown, weigh } from './recorder.ts';
import { Waves } from './waves.ts';

const { values: flags } = parseArgs({
  options: {
    minutes: { type: 'string', default: '2' },
    seed: { type: 'string', default: '1' },
    kill: { type: 'boolean', default: false },
    'orders-per-second': { type: 'string', default: '100' },
    'meters-per-second': { type: 'string', default: '60' },
    verbose: { type: 'boolean', default: false },
  },
});
const print = (line: string): void => void process.stdout.write(`${line}\n`);
const seed = Number(flags.seed);
const loadMs = Number(flags.minutes) * 60_000;
const sampleEveryMs = 2_000;
const reportEveryMs = 15_000;
const waveSeconds = 20;
const messagesPerOrder = 3.9;
const meterKeys = 40;
const quietLimitMs = 120_000;
const restWithinMs = 120_000;

/** One queue more, and outputs that go after two minutes: they must not be the growth. */
function configure(queues: QueueConfig[]): void {
  const like = (name: string): QueueConfig => {
    const found = queues.find(({ Name }) => Name === name);
    if (!found) throw new TypeError(`there is no queue ${name}`);
    return found;
  };
  for (const suffix of ['', '-out']) {
    queues.push({ ...structuredClone(like(`orders${suffix}`)), Name: `meter${suffix}` });
  }
  for (const { Name, Properties } of queues) {
    if (Name.endsWith('-out')) Properties['DefaultMessageTimeToLive'] = 'PT2M';
  }
}

const faults: string[] = [];

function judged({ violations, lost, doubled, failures, messages }: Verdict, wave: number): void {
  print(`  wave ${wave}: ${messages.sent} sent, ${violations}/${lost}/${doubled}`);
  for (const failure of failures) faults.push(`wave ${wave}: ${failure}`);
}

interface Load {
  waves: Waves;
  meters: MetersLoad;
}

async function record(recorder: Recorder, { waves, meters }: Load, untilMs: number): Promise<void> {
  let reportAt = Date.now() + reportEveryMs;
  while (Date.now() < untilMs) {
    await pause(sampleEveryMs);
    recorder.sample();
    if (Date.now() < reportAt) continue;
    reportAt += reportEveryMs;
    const leftSeconds = Math.max(Math.round((untilMs - Date.now()) / 1_000), 0);
    print(`  ${waves.sent} orders and ${meters.sent} readings sent, ${leftSeconds} s to go`);
  }
}

/** Brings everything to an end and says what is wrong. */
async function settle(fleet: Fleet, disturbance: Disturbance): Promise<void> {
  const api = new Api(fleet.url);
  const giveUpAt = Date.now() + restWithinMs;
  for (const convoy of ['orders', 'meter']) {
    for (const status of ['active', 'held']) {
      const busy = (): Promise<unknown[]> => api.list(`/convoys?convoy=${convoy}&status=${status}`);
      let left = await busy();
      while (left.length > 0 && Date.now() < giveUpAt) {
        await pause(500);
        await disturbance.heal();
        left = await busy();
      }
      if (left.length > 0) faults.push(`${convoy}: ${left.length} keys are still ${status}`);
    }
    const verify = await runConvoy(['verify', convoy, '--url', fleet.url]);
    print(verify.stdout.trimEnd());
    if (verify.code !== 0) faults.push(`verify ${convoy}: ${verify.stderr}`);
  }
}

function judgeMeters({ sent, lost, doubled, violations, windowsClosed }: MeterCounts): void {
  print(
    `  readings: ${sent} sent, ${violations}/${lost}/${doubled}, ${windowsClosed} windows closed`,
  );
  const counts = { lost, doubled, violations };
  for (const [name, count] of Object.entries(counts)) {
    if (count > 0) faults.push(`readings ${name}: ${count}`);
  }
  if (windowsClosed === 0) faults.push('no window was closed');
}

/** What the files hold at the end, to be read with the trends above. */
function contentsOf(fleet: Fleet): void {
  for (const file of fleet.files().filter((name) => /cosmos|hub/.test(name))) {
    const database = new DatabaseSync(file, { readOnly: true });
    const tables = database.prepare(`SELECT name FROM sqlite_schema WHERE type='table'`).all();
    const counts = tables
      .map(({ name }) => String(name))
      .filter((name) => /^(items_\d+|instances|history|inbox|timers|work)$/.test(name))
      .map((name) => [
        name,
        Number(database.prepare(`SELECT count(*) n FROM ${name}`).get()?.['n']),
      ]);
    database.close();
    print(`  ${file.split('/').at(-1)}: ${counts.map(([name, n]) => `${n} ${name}`).join(', ')}`);
    for (const [name, count] of counts) {
      const isOpen = name === 'inbox' || name === 'timers' || name === 'work';
      if (isOpen && Number(count) > 0) faults.push(`the hub still has ${count} ${name}`);
    }
  }
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'convoy-soak-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const gauges = join(folder, 'gauges');
  mkdirSync(gauges);
  const preload = join(import.meta.dirname, `preload${extname(import.meta.filename)}`);
  const env = {
    NODE_OPTIONS: `--import ${pathToFileURL(preload).href}`,
    SOAK_GAUGES: gauges,
  };
  const note = (line: string): void => void (flags.verbose && print(`    ${line.slice(0, 400)}`));
  const started = { topology: 'single', folder, note, configure, env, allowsFaults: true } as const;
  await using fleet = await Fleet.start(started);
  const { serviceBus } = fleet.address;
  const random = prng(Math.imul(seed, 0x9e3779b1));
  const perSecond = Number(flags['orders-per-second']);
  const orders = Math.ceil((perSecond * waveSeconds) / messagesPerOrder);
  const wavesOptions = {
    http: fleet.url,
    serviceBus,
    folder,
    seed,
    orders,
    perSecond,
    onVerdict: judged,
  };
  const waves = new Waves(wavesOptions);
  const metersPerSecond = Number(flags['meters-per-second']);
  const meterOptions = { serviceBus, random, keys: meterKeys, perSecond: metersPerSecond };
  await using meters = new MetersLoad(meterOptions);
  const recorder = new Recorder(fleet, gauges);
  const disturbance = new Disturbance({ fleet, random, meters: meters.keys, kills: flags.kill });

  print(`soak of ${flags.minutes} minutes, seed ${seed}${flags.kill ? ', with kills' : ''}`);
  const startedAt = Date.now();
  await disturbance.start();
  const working = Promise.all([waves.run(), meters.send(), meters.watch(quietLimitMs)]);
  await record(recorder, { waves, meters }, startedAt + loadMs);
  waves.stop();
  meters.stop();
  await disturbance.calm();
  const healing = setInterval(() => void disturbance.heal().catch(() => {}), 1_000);
  await working;
  clearInterval(healing);
  await settle(fleet, disturbance);
  judgeMeters(meters.counts());
  const lines = recorder.lines(startedAt + loadMs / 2);
  const ended = await fleet.end();
  if (ended.left.length > 0) faults.push(`left running: ${ended.left.join(', ')}`);
  contentsOf(fleet);
  const weight = weigh(fleet, waves.sent + meters.sent);
  print(`  bytes per message sent: ${weight.text}`);
  faults.push(...weight.faults);
  print('  second half of the run      first    last    most    rise');
  for (const line of lines) {
    print(shown(line));
    if (grows(line)) faults.push(`${line.name} grows`);
  }
  const met = [...disturbance.counts].map(([name, count]) => `${count} ${name}`);
  print(`  disturbed by: ${met.join(', ')}`);
}

for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(name, () => process.exit(130));
await main();
for (const fault of faults) print(`FAIL ${fault}`);
print(
  faults.length === 0
    ? 'flat, and nothing lost, doubled or out of order'
    : `replay: --seed ${seed}`,
);
process.exit(faults.length === 0 ? 0 : 1);
