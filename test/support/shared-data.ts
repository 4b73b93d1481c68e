// The real event data with independently computed truth. It stands beside the checkout, never in it
// (licences), so a test of it must do without: it is skipped and says why, or fails in CI.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, test } from 'vitest';
import { packageRoot } from '../../infra/local/address.ts';

const folder = join(packageRoot(), '..', 'shared', 'data');

export function dataFile(...steps: string[]): string {
  return join(folder, ...steps);
}

/** The content of a JSON file of the data, `.gz` too. */
export function readTruth<Truth>(...steps: string[]): Truth {
  const content = readFileSync(dataFile(...steps));
  const text = steps.at(-1)?.endsWith('.gz') ? gunzipSync(content) : content;
  return JSON.parse(text.toString('utf8')) as Truth;
}

/** How the truth hashes a list of event ids: joined by line feeds, none at the end. */
export function idsDigest(ids: readonly string[]): string {
  return sha256(ids.join('\n'));
}

export function sha256(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('hex');
}

export type DataVerdict = { kind: 'run' } | { kind: 'skip' | 'fail'; reason: string };

/** Whether tests of the data run, are skipped, or fail for want of it. */
export function dataVerdict(isPresent: boolean, env: NodeJS.ProcessEnv): DataVerdict {
  if (isPresent) return { kind: 'run' };
  const reason = `the event data is not at ${folder}; unpack it beside the checkout`;
  return { kind: env['CONVOY_CI'] === '1' ? 'fail' : 'skip', reason };
}

/** A suite on the real data. Its body must not read the data while tests are collected. */
export function describeWithData(name: string, suite: () => void): void {
  const verdict = dataVerdict(existsSync(dataFile('truth.mjs')), process.env);
  if (verdict.kind === 'run') {
    describe(name, suite);
  } else if (verdict.kind === 'fail') {
    test(name, () => {
      throw new Error(`CONVOY_CI=1: ${verdict.reason}`);
    });
  } else {
    console.warn(`skipped: ${name}: ${verdict.reason}`);
    describe.skip(`${name} [${verdict.reason}]`, suite);
  }
}
