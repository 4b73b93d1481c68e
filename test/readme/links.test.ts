// What the README points at is there, and every guarantee names a test that would fail without it.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../../infra/local/address.ts';

const readme = readFileSync(join(packageRoot(), 'README.md'), 'utf8');

const linksIn = (text: string): string[] =>
  [...text.matchAll(/\]\(([^)#:]+)\)/g)].map(([, path = '']) => path);

/** The cells of every guarantee. */
function guarantees(): string[][] {
  const section = readme.split('## Guarantees')[1] ?? '';
  const [table = ''] = section.split('\n\n').filter((part) => part.startsWith('| guarantee'));
  const [, , ...lines] = table.split('\n');
  return lines.map((line) => line.split('|').slice(1, -1));
}

test('every path that the README links to exists', () => {
  const missing = linksIn(readme).filter((path) => !existsSync(join(packageRoot(), path)));

  expect(missing).toEqual([]);
});

test('every guarantee links to a test that fails if it is broken', () => {
  const table = guarantees();
  const untested = table.filter(([, , tests = '']) => !linksIn(tests).some(isTest));

  expect(table.length).toBeGreaterThan(10);
  expect(untested).toEqual([]);
});

const isTest = (path: string): boolean => path.startsWith('test/');
