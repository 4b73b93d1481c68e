// Every regular expression of the source, run on long texts made to make it backtrack. What counts
// is the processor time of this process, not the clock: a machine under load changes nothing. They
// were looked through with recheck 4.5.0 as well.
import { expect, test } from 'vitest';
import { sourceFiles } from '../tidy/source.ts';

const parts = [
  /(?<=[=(,:;!&|?{}\n[>]\s*|return\s+)\/(?![*/])/,
  /((?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n])+)/,
  /\/([dgimsuvy]*)(?=[\s.,;)\]}?:])/,
];
const literal = new RegExp(parts.map(({ source }) => source).join(''), 'g');

interface Found {
  where: string;
  source: string;
  flags: string;
}

const found: Found[] = sourceFiles()
  .filter(({ path }) => !path.startsWith('test/'))
  .flatMap(({ path, lines }) =>
    lines.flatMap((line, at) =>
      /^\s*(?:\/\/|\*|\/\*)/.test(line)
        ? []
        : [...`\n${line}`.matchAll(literal)].map(([, source = '', flags = '']) => ({
            where: `${path}:${at + 1}`,
            source,
            flags,
          })),
    ),
  );

/** A piece of text between two slashes, inside a string, is none. */
function isExpression({ source, flags }: Found): boolean {
  try {
    return Boolean(new RegExp(source, flags));
  } catch {
    return false;
  }
}

/** These see only what the house itself has written. */
const ownTextOnly = [
  'infra/local/host/timer.ts', // instants of the Date object, 24 characters
  'infra/local/host/service-bus-adapter.ts',
];

/** What an expression has to read before it comes to its repetitions. */
const openingOf = (source: string): string => /^\^?([\w ]+)(?![*+?{])/.exec(source)?.[1] ?? '';

const pumps = ['a', '0', ' ', '\t', '/', '~', '-', '.', '"', "'", '\\', ',', '0.', 'a ', '%', '<'];

function cpuMs(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
}

/** The text that takes an expression longer than texts of its length may. */
function slowTextOf({ source, flags }: Found): string | undefined {
  const expression = new RegExp(source, flags);
  for (const pump of pumps) {
    for (const opening of new Set(['', openingOf(source), `${openingOf(source)} `])) {
      // Exponential growth shows at 22, cubic at 300, quadratic at 6,000; linear takes below 1 ms.
      for (const times of [22, 300, 6_000]) {
        const text = `${opening}${pump.repeat(times)}\0${pump}`;
        const run = (): void => {
          expression.lastIndex = 0;
          expression.test(text);
        };
        // The second time is without compilation and collection; a third excludes chance.
        run();
        if (cpuMs(run) > 8 && cpuMs(run) > 8) return `${opening}${pump} × ${times}`;
      }
    }
  }
  return undefined;
}

test('no expression takes time beyond the length of its text', () => {
  const slow = found
    .filter(isExpression)
    .filter(({ where }) => !ownTextOnly.some((path) => where.startsWith(path)))
    .flatMap((one) => {
      const text = slowTextOf(one);
      return text === undefined ? [] : [`${one.where} /${one.source}/: ${JSON.stringify(text)}`];
    });

  // The reader of sources would prove little if it found none.
  expect(found.length).toBeGreaterThan(100);
  expect(slow).toEqual([]);
});

test('the check finds what it looks for', () => {
  const slowness = (source: string) => slowTextOf({ where: '', source, flags: '' });

  expect(slowness('\\/+$')).toBe('/ × 6000');
  expect(slowness('^(?:a+)+$')).toBe('a × 22');
  expect(slowness('^Key\\s+(.*)$')).toBe(undefined);
  expect(slowness('^[a-z]+$')).toBe(undefined);
});
