// `convoy simulate` as a person runs it: on the samples of this package, and on an app whose
// definitions are wrong on purpose. Needs a built app (`npx tsc`).
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { cliFile, tempFolder } from './processes.ts';

const folder = tempFolder();
afterAll(() => folder[Symbol.dispose]());
const limit = { timeout: 60_000 };
const dist = (file: string): string =>
  JSON.stringify(pathToFileURL(join(import.meta.dirname, '../../dist', file)).href);

/** An app as `tsc` leaves it: a registry and the orchestrator. */
const registry = `
import { defineConvoy } from ${dist('shared/convoy/definition.js')};
const any = { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } };
const made = (name, apply, more = {}) =>
  defineConvoy({ name, schema: any, initialState: { n: 0 }, apply, ...more });
let calls = 0;
export const convoys = [
  made('right', ({ n }, message) => ({ n: n + 1, last: message.id })),
  made('clocked', ({ n }) => ({ n: n + 1, at: Date.now() })),
  made('counting', () => ({ n: (calls += 1) })),
  made('dated', ({ n }, { body }) => ({ n: n + 1, at: body.at && new Date(body.at) })),
  made('failing', ({ n }, { body }) => {
    if (body.at) throw new Error('no dates');
    return { n: n + 1 };
  }),
];
`;
mkdirSync(join(folder.path, 'dist/functions/convoys'), { recursive: true });
writeFileSync(join(folder.path, 'package.json'), '{"type":"module"}');
writeFileSync(join(folder.path, 'dist/functions/convoys/registry.js'), registry);
writeFileSync(
  join(folder.path, 'dist/functions/convoy.js'),
  `export { convoy } from ${dist('functions/convoy.js')};`,
);
const lines = ['{"n":1}', '{"n":2}', '{"at":"2026-01-01T00:00:00Z"}'];
writeFileSync(join(folder.path, 'bodies.ndjson'), lines.join('\n'));

interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

function simulate(...args: string[]): Promise<Ended> {
  const child = spawn(process.execPath, [cliFile, 'simulate', ...args], { cwd: folder.path });
  const heard = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (chunk: string) => (heard[name] += chunk));
  }
  return new Promise((resolve) => {
    child.on('close', (code) => resolve({ code: code ?? -1, ...heard }));
  });
}

const own = ['--app', '.', '--messages', 'bodies.ndjson', '--seeds', '10'];

describe('nothing is found', () => {
  test('in a sample, with messages made from its schema', limit, async () => {
    const { code, stdout } = await simulate('ledger', '--seeds', '10', '--json');

    const answer = JSON.parse(stdout) as { outcomes: Record<string, number> };
    expect([code, answer]).toMatchObject([0, { convoy: 'ledger', histories: 10, found: null }]);
    expect(answer.outcomes['applied']).toBeGreaterThan(300);
  });

  test('in messages that are told to fail: failing is no broken rule', limit, async () => {
    const right = await simulate('right', ...own);
    const failing = await simulate('failing', ...own);

    expect([right.code, failing.code]).toEqual([0, 0]);
    expect(right.stdout).toMatch(/10 histories, no rule broken/);
    expect(failing.stdout).toMatch(/applied.* rejected|rejected.* applied/);
  });
});

describe('a counterexample names message, step and rule, as small as can be', () => {
  test.each([
    ['clocked', 'purity', /^purity: message 'k\d-1': apply came to .*"at":/],
    ['counting', 'purity', /^purity: message 'k\d-1': apply came to .*"n":/],
    ['dated', 'json', /^json: message 'k\d-\d+': state.at is a Date, which JSON does not keep/],
  ])('%s breaks %s', limit, async (convoy, rule, said) => {
    const { code, stdout } = await simulate(convoy, ...own);

    const story = stdout.slice(stdout.indexOf('\n\n') + 2);
    expect(code).toBe(1);
    expect(story).toMatch(said);
    expect(story).toMatch(/seed 1, 1 message, 0 faults, seen at step \d+/);
    expect(story).toMatch(new RegExp(`✗ ${rule} is broken`));
    expect(story).toMatch(/again: convoy simulate \w+ --seed 1 --messages bodies.ndjson --app \./);
  });

  test('the same again, told to a program', limit, async () => {
    const args = ['dated', '--app', '.', '--messages', 'bodies.ndjson', '--seed', '3', '--json'];
    const [one, other] = [await simulate(...args), await simulate(...args)];

    expect(one.stdout).toBe(other.stdout);
    expect(JSON.parse(one.stdout)).toMatchObject({
      convoy: 'dated',
      found: { rule: 'json', seed: 3, faults: [], messages: [{ text: lines[2] }] },
    });
  });
});

describe('wrong use says what to do', () => {
  test.each([
    [['nothing-here', '--app', '.'], /no convoy 'nothing-here'.*it has right, clocked/],
    [['right', '--app', '.'], /no message can be made from the schema .*--messages FILE/],
    [['right', '--app', 'elsewhere'], /build the app first/],
    [['right', '--app', '.', '--messages', 'gone.ndjson'], /there is no file gone.ndjson/],
    [['right', '--seeds', 'many'], /many is not a whole number/],
  ])('%j', limit, async (args, said) => {
    const { code, stderr } = await simulate(...args);

    expect(stderr).toMatch(said);
    expect(code).toBe(2);
  });
});
