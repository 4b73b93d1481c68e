// `convoy simulate`: the user's own definition, as the built app has it, under the faults of the
// simulation. A counterexample is shrunk and told as a story; `--seed` repeats it.
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Command } from 'commander';
import type { ConvoyDefinition } from '../../shared/convoy/definition.ts';
import { packageRoot } from '../local/address.ts';
import type { Orchestrator } from '../simulation/orchestration.ts';
import { type Sample, drawMessages, samplesFor } from '../simulation/samples.ts';
import type { Scenario } from '../simulation/scenario.ts';
import { type Shrunk, nameOf, shrink } from '../simulation/shrink.ts';
import { type Simulation, runSeeds, simulate } from '../simulation/simulate.ts';
import { ruleText, storyOf } from '../simulation/story.ts';
import { trialOf } from '../simulation/trial.ts';
import { exitCodes, printJson, printLine, WrongUse } from './output.ts';
import { openProgress } from './progress.ts';
import { formatOf, readRecords } from './records.ts';
import { type Global, wholeNumber } from './serve.ts';

interface Flags extends Global {
  seeds: number;
  seed?: number;
  length: number;
  messages?: string;
  types?: string;
  app?: string;
}

const about = [
  'Runs the definition of a convoy through thousands of hostile histories: crashes, lost locks, ' +
    'zombies, lost and doubled wakes, stale reads, lost answers. Nothing is sent anywhere, and ' +
    'effects are not called: they come to undefined.',
  'What must hold: order, effects exactly once, nothing lost, outputs in order; and of the ' +
    'definition itself: apply is pure (the same state and message come to the same), the state ' +
    'survives JSON, an effect keeps its idempotency key.',
  'Exit codes: 0 nothing found, 1 a counterexample, 2 wrong use.',
].join('\n\n');

const examples = `
Examples:
  convoy simulate ledger                        1,000 histories, messages made from the schema
  convoy simulate orders --types OrderPlaced,OrderPaid,OrderShipped
  convoy simulate orders --messages orders.ndjson --seeds 10000
  convoy simulate orders --seed 4711            one history again, with its story

A line of --messages is a body, or {"body": …, "type": …, "key": …}; with keys the lines keep
their order.`;

export function addSimulateCommand(program: Command, ended: (code: number) => void): void {
  program
    .command('simulate')
    .summary('run a definition under the fault simulator')
    .description(about)
    .argument('<convoy>')
    .option('--seeds <n>', 'histories', wholeNumber(1, 10_000_000), 1_000)
    .option('--seed <s>', 'only this one; without it the first is 1', wholeNumber(0, 2 ** 31))
    .option('--length <n>', 'messages of a history', wholeNumber(1, 500), 50)
    .option('--messages <file>', 'NDJSON to draw them from (default: made from the schema)')
    .option('--types <list>', 'message types, with commas (default: sent)')
    .option('--app <dir>', 'folder of a built app (default: this package)')
    .addHelpText('after', examples)
    .action(async (convoy: string, _, command: Command) => {
      const flags = command.optsWithGlobals<Flags>();
      ended(await simulateConvoy(convoy, flags));
    });
}

interface Trial {
  scenario: Scenario;
  orchestrator: Orchestrator;
}

async function simulateConvoy(convoy: string, flags: Flags): Promise<number> {
  const { definition, orchestrator } = await loadApp(convoy, flags);
  const samples = await samplesOf(definition, flags);
  const types = flags.types?.split(',').map((type) => type.trim()) ?? [];
  const bySender = definition.order === 'sender';
  const scenario = trialOf({
    // A lane is a key of its own: what holds for one holds for all.
    definition: { ...definition, lanes: { all: [], keys: {} } },
    messagesOf: (random) =>
      drawMessages(random, { samples, types, messages: flags.length, bySender }),
  });
  const trial = { scenario, orchestrator };
  const { histories, steps, coverage, failed } = await runAll(trial, convoy, flags);
  const [first] = failed;
  const outcomes = outcomesIn(coverage);
  const faults = sumOf(coverage, 'fault:');
  const summary = { convoy, histories, steps, faults, outcomes };
  if (first === undefined) {
    if (flags.json) printJson({ ...summary, found: null });
    else for (const line of summaryLines(summary)) printLine(line);
    return exitCodes.ok;
  }
  const found = await smallest(trial, first, flags);
  report(flags, { summary, first, found });
  return exitCodes.no;
}

/** As the host does it: the app's own built files, by path. */
async function loadApp(
  convoy: string,
  flags: Flags,
): Promise<{ definition: ConvoyDefinition; orchestrator: Orchestrator }> {
  const folder = join(resolve(flags.app ?? packageRoot()), 'dist', 'functions');
  const registry = await importFrom(join(folder, 'convoys', 'registry.js'));
  const { convoy: orchestrator } = await importFrom(join(folder, 'convoy.js'));
  const convoys = Array.isArray(registry['convoys']) ? registry['convoys'] : [];
  // The edge where what the app exports becomes what its types say.
  const definitions = convoys as ConvoyDefinition[];
  const definition = definitions.find(({ name }) => name === convoy);
  if (definition) return { definition, orchestrator: orchestrator as Orchestrator };
  const names = definitions.map(({ name }) => name).join(', ');
  throw new WrongUse(`no convoy '${convoy}' in ${folder}/convoys/registry.js; it has ${names}`);
}

async function importFrom(path: string): Promise<Record<string, unknown>> {
  if (!existsSync(path)) throw new WrongUse(`${path} is not there: build the app first (npx tsc)`);
  const { warn } = console;
  console.warn = () => {}; // the SDK misses the Functions host, which nobody needs here
  try {
    return (await import(pathToFileURL(path).href)) as Record<string, unknown>;
  } finally {
    console.warn = warn;
  }
}

async function samplesOf(definition: ConvoyDefinition, flags: Flags): Promise<Sample[]> {
  if (flags.messages !== undefined) return readSamples(flags.messages);
  const samples = samplesFor(definition.schema);
  if (!('fault' in samples)) return samples;
  throw new WrongUse(
    `no message can be made from the schema of '${definition.name}' (${samples.fault}): ` +
      'give some with --messages FILE, one JSON body per line',
  );
}

async function readSamples(path: string): Promise<Sample[]> {
  if (!existsSync(path)) throw new WrongUse(`--messages: there is no file ${path}`);
  const format = formatOf(path) ?? 'ndjson';
  const samples: Sample[] = [];
  for await (const { fields } of readRecords({ path, name: path, format })) {
    const { body, type, key } = fields;
    const isEnvelope = body !== undefined && ('type' in fields || 'key' in fields);
    samples.push({
      body: isEnvelope ? body : fields,
      ...(isEnvelope && typeof type === 'string' && { type }),
      ...(isEnvelope && key !== undefined && { key: String(key) }),
    });
  }
  if (samples.length === 0) throw new WrongUse(`--messages: ${path} holds no message`);
  return samples;
}

async function runAll(trial: Trial, convoy: string, flags: Flags) {
  const count = flags.seed === undefined ? flags.seeds : 1;
  const isLive = process.stderr.isTTY && !flags.json;
  const progress = openProgress(`simulating ${convoy}`, count, isLive);
  try {
    return await runSeeds({
      ...trial,
      from: flags.seed ?? 1,
      count,
      stopAtFirst: true,
      onProgress: (done) => progress.show(done),
    });
  } finally {
    progress.end();
  }
}

/** Shrunk, and run once more with its trace. */
async function smallest(trial: Trial, first: Simulation, flags: Flags): Promise<Shrunk> {
  const runsMax = 400;
  const isLive = process.stderr.isTTY && !flags.json;
  const progress = openProgress('shrinking', runsMax, isLive);
  try {
    const found = await shrink(first, {
      runsMax,
      rates: trial.scenario.rates,
      run: (history) => simulate({ ...trial, ...history }),
      onProgress: (runs, { messages, plan }) =>
        progress.show(runs, `${messages.length} messages, ${plan.length} faults`),
    });
    const { seed, messages, plan } = found;
    return {
      ...found,
      simulation: await simulate({ ...trial, seed, messages, plan, trace: true }),
    };
  } finally {
    progress.end();
  }
}

interface Summary {
  convoy: string;
  histories: number;
  steps: number;
  faults: number;
  outcomes: Record<string, number>;
}

function outcomesIn(coverage: ReadonlyMap<string, number>): Record<string, number> {
  const named = [...coverage].filter(([name]) => name.startsWith('outcome:'));
  return Object.fromEntries(named.map(([name, n]) => [name.slice('outcome:'.length), n]));
}

function sumOf(coverage: ReadonlyMap<string, number>, prefix: string): number {
  return [...coverage].reduce((sum, [name, n]) => sum + (name.startsWith(prefix) ? n : 0), 0);
}

function summaryLines({ convoy, histories, steps, faults, outcomes }: Summary): string[] {
  const named = Object.entries(outcomes).map(([name, n]) => `${n.toLocaleString('en')} ${name}`);
  const lines = [
    `${convoy}: ${histories.toLocaleString('en')} histories, no rule broken`,
    `  ${steps.toLocaleString('en')} steps, ${faults.toLocaleString('en')} faults`,
    `  messages: ${named.join(', ')}`,
  ];
  if ((outcomes['applied'] ?? 0) > 0) return lines;
  return [...lines, '  nothing was applied: give better messages with --messages or --types'];
}

function report(
  flags: Flags,
  { summary, first, found }: { summary: Summary; first: Simulation; found: Shrunk },
): void {
  const { convoy } = summary;
  const story = storyOf(found.simulation);
  const replay = replayLine(convoy, first.seed, flags);
  const [violation] = found.simulation.violations;
  if (flags.json) {
    const { messages, plan } = found;
    printJson({
      ...summary,
      found: {
        ...violation,
        expected: ruleText(violation?.rule ?? ''),
        seed: first.seed,
        messages,
        faults: plan,
        story,
        replay,
      },
    });
    return;
  }
  printLine(`${convoy}: a counterexample after ${summary.histories} histories`);
  printLine('');
  for (const line of story) printLine(line);
  printLine('');
  const faults = found.plan.map(nameOf).join(', ');
  printLine(`faults needed: ${faults === '' ? 'none' : faults}`);
  printLine('messages:');
  for (const { key, id, type, text } of found.messages)
    printLine(`  '${key}' ${id} ${type} ${text}`);
  printLine(`again: ${replay}`);
}

/** Histories depend on the seed and on what messages are drawn from, and on nothing else. */
function replayLine(convoy: string, seed: number, flags: Flags): string {
  const parts = [`convoy simulate ${convoy} --seed ${seed}`];
  if (flags.length !== 50) parts.push(`--length ${flags.length}`);
  for (const name of ['messages', 'types', 'app'] as const)
    if (flags[name] !== undefined) parts.push(`--${name} ${flags[name]}`);
  return parts.join(' ');
}
