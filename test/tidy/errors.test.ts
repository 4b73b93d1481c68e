// README's error table equals the registry. Where it differs, the failure prints the table to
// paste.
import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { errorRegistry } from '../../shared/errors.ts';
import { readText } from './source.ts';

const settled = {
  complete: 'recorded, then completed',
  none: '–',
  hold: 'admitted; its key waits',
  redeliver: 'delivered again',
} as const;

/** The table as the README shows it. */
function errorTable(): string {
  const lines = Object.entries(errorRegistry).map(
    ([code, { meaning, remedy, settlement }]) =>
      `| \`${code}\` | ${meaning} | ${remedy} | ${settled[settlement]} |`,
  );
  return ['| code | means | remedy | the message is |', '| --- | --- | --- | --- |', ...lines].join(
    '\n',
  );
}

/** The table of a section, with the padding that prettier adds taken away. */
function tableUnder(readme: string, heading: string): string {
  const section = readme.split(/^## /m).find((part) => part.startsWith(heading)) ?? '';
  return section
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .map((line) => line.replaceAll(/ +\|/g, ' |').replaceAll(/\| -+/g, '| ---'))
    .join('\n');
}

test('the README lists every error with its remedy, and none that is gone', () => {
  const readme = existsSync('README.md') ? readText('README.md') : '';

  expect(tableUnder(readme, 'Errors')).toBe(errorTable());
});

test('every error says what it means and what to do, in one line', () => {
  for (const [code, { meaning, remedy }] of Object.entries(errorRegistry)) {
    expect(code).toMatch(/^CVY_[A-Z0-9_]+$/);
    expect(`${meaning}${remedy}`).not.toMatch(/[\n|]|\.$/);
    expect(meaning.length * remedy.length).toBeGreaterThan(0);
  }
});
