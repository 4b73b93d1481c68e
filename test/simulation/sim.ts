// `npm run sim -- [--seeds N] [--from S] [--scenario NAME]`: many histories, with their coverage.
// Exit 1 when one of them breaks a rule; it prints the line that repeats it.
import { Command } from 'commander';
import { convoy } from '../../functions/convoy.ts';
import { scenarios } from '../../infra/simulation/scenarios.ts';
import { runSeeds } from '../../infra/simulation/simulate.ts';

const options = new Command('sim')
  .option('--seeds <n>', 'histories of each scenario', '1000')
  .option('--from <seed>', 'first seed', '1')
  .option('--scenario <name>', 'only this one')
  .parse()
  .opts<{ seeds: string; from: string; scenario?: string }>();

let hasFailed = false;
for (const { name } of scenarios) {
  if (options.scenario !== undefined && options.scenario !== name) continue;
  const startedAt = performance.now();
  const report = await runSeeds({
    scenario: name,
    from: Number(options.from),
    count: Number(options.seeds),
    orchestrator: convoy,
  });
  const perSecond = Math.round((report.histories / (performance.now() - startedAt)) * 1000);
  console.log(
    `${name}: ${report.histories} histories, ${perSecond}/s, ${report.failed.length} failed`,
  );
  for (const { seed, violations } of report.failed) {
    hasFailed = true;
    console.log(`  npm run sim -- --scenario ${name} --from ${seed} --seeds 1`);
    console.log(`    ${violations[0]?.rule}: ${violations[0]?.message}`);
  }
}
process.exitCode = hasFailed ? 1 : 0;
