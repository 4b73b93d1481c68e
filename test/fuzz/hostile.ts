// What a hostile sender, file or browser sends: texts, values and bytes that break careless code,
// one list for all the tests here, and generators over them. SEED=n repeats a run, RUNS=n makes
// it n times as long.
import fc from 'fast-check';

/** Parameters of a property; a failure prints its seed, and the shrunk input. */
export function runs(numRuns: number): fc.Parameters<unknown> {
  const seed = process.env['SEED'];
  return {
    numRuns: numRuns * Number(process.env['RUNS'] ?? 1),
    ...(seed !== undefined && { seed: Number(seed) }),
  };
}

/** Names that mean something to JavaScript, SQL, HTML, a path, a shell, a format string. */
export const nastyTexts: readonly string[] = [
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  '{"__proto__":{"polluted":1}}',
  '{"toString":1}',
  '{"toJSON":1,"valueOf":1}',
  '"\\ud800"',
  '[[[[[[[[',
  `${'['.repeat(64)}${']'.repeat(64)}`,
  'null',
  'true',
  '""',
  '" "',
  '-0',
  '0',
  '1e400',
  '1e5',
  '00017',
  '12345678901234567890',
  '9007199254740993',
  'NaN',
  "' OR 1=1 --",
  "'; DROP TABLE items; --",
  'c.id',
  '@p',
  'SELECT * FROM c',
  '<script>window.pwned=1</script>',
  '"><img src=x onerror="window.pwned=1">',
  'javascript:window.pwned=1',
  '${7*7}{{7*7}}',
  '../../etc/passwd',
  '..',
  '.',
  '~',
  '~2f',
  '%2e%2e%2f',
  'a:b/c\\d#e?f&g=h;i',
  'C:\\CON',
  '\ufeffbom',
  'a\u202eb\u202c',
  'zero\u200bwidth\u2060\u00ad',
  'e\u0301 é 𝕂 👩‍👩‍👧',
  '\u2028\u2029',
  ' lead and trail ',
  'k'.repeat(128),
  '👍'.repeat(64),
];

/** Texts that no key, id or type may be. */
export const brokenTexts: readonly string[] = [
  '',
  '\0',
  'a\0b',
  'a\nb',
  '\u007f',
  '\u0085',
  '\ud800',
  'x\udc00y',
  'k'.repeat(129),
  'k'.repeat(2_000),
];

export const nastyText = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...nastyTexts) },
  fc.string({ unit: 'grapheme', maxLength: 140 }),
  fc.string({ unit: 'binary', maxLength: 140 }),
);

export const anyText = fc.oneof(nastyText, fc.constantFrom(...brokenTexts));

const cyclic: { self?: unknown } = {};
cyclic.self = cyclic;

/** What no JSON carries and what JSON carries badly. */
const strangeValues: readonly unknown[] = [
  undefined,
  null,
  NaN,
  Infinity,
  -0,
  2 ** 53 + 2,
  1e308,
  -1,
  1.5,
  10n ** 20n,
  Symbol('s'),
  cyclic,
  Object.create(null),
  JSON.parse('{"toString":1,"valueOf":2}'),
  { toJSON: () => undefined },
  {
    toJSON() {
      throw new TypeError('toJSON');
    },
  },
  new Date(NaN),
  Buffer.from([0xff, 0xfe]),
  () => 1,
  'x'.repeat(2_000),
  Array.from({ length: 5_000 }, (_, at) => at),
];

export const anyValue = fc.oneof(
  anyText,
  fc.constantFrom(...strangeValues),
  fc.anything({ withBigInt: true, withDate: true, withNullPrototype: true, withMap: true }),
);

const nested = (levels: number): string => `${'['.repeat(levels)}${']'.repeat(levels)}`;

export const nastyBodies: readonly (readonly [name: string, body: Buffer])[] = (
  [
    ['nothing', ''],
    ['a byte order mark', '\ufeff{}'],
    ['two byte order marks', '\ufeff\ufeff{}'],
    ['a NUL in a text', '{"a":"\0"}'],
    ['128 levels', nested(128)],
    ['129 levels', nested(129)],
    ['10^5 levels', nested(100_000)],
    ['30,000 levels of objects', `${'{"a":'.repeat(30_000)}1${'}'.repeat(30_000)}`],
    ['10^5 levels that never close', '['.repeat(100_000)],
    ['brackets in a text', `"${'[{'.repeat(1_000)}\\"${'['.repeat(1_000)}"`],
    ['a prototype', '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}'],
    ['names of methods', '{"toString":1,"hasOwnProperty":1,"then":1,"toJSON":1}'],
    ['a name twice', '{"a":1,"a":2}'],
    ['a lone surrogate', '{"a":"\\ud800"}'],
    ['minus zero', '{"a":-0}'],
    ['a number beyond doubles', '{"a":1e400}'],
    ['twenty digits', '{"a":12345678901234567890}'],
    ['100,000 digits', `{"a":${'9'.repeat(100_000)}}`],
    ['no JSON', '{a:1}'],
    ['NaN', 'NaN'],
    ['two values', '1 2'],
  ] as const
)
  .map(([name, text]): [string, Buffer] => [name, Buffer.from(text, 'utf8')])
  .concat(
    // Every kind of fault of UTF-8 [RFC 3629].
    [
      ['a stray continuation', [0x80]],
      ['a lead without continuation', [0xc3, 0x28]],
      ['an overlong slash', [0xc0, 0xaf]],
      ['an overlong of three bytes', [0xe0, 0x80, 0xaf]],
      ['a surrogate in UTF-8', [0xed, 0xa0, 0x80]],
      ['beyond U+10FFFF', [0xf4, 0x90, 0x80, 0x80]],
      ['five bytes', [0xf8, 0x88, 0x80, 0x80, 0x80]],
      ['cut off', [0xf0, 0x9f, 0x91]],
      ['UTF-16', [0xff, 0xfe, 0x7b, 0x00, 0x7d, 0x00]],
      ['gzip', [0x1f, 0x8b, 0x08, 0x00]],
    ].map(([name, bytes]) => {
      const middle = Buffer.from(bytes as number[]);
      return [String(name), Buffer.concat([Buffer.from('{"a":"'), middle, Buffer.from('"}')])];
    }),
  );

export const anyBody = fc.oneof(
  fc.constantFrom(...nastyBodies.map(([, body]) => body)),
  fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
  fc.json({ noUnicodeString: false } as fc.JsonSharedConstraints).map((text) => Buffer.from(text)),
);

/** Whether the prototypes of this process are as they were. */
export function isUnpolluted(): boolean {
  return Object.keys(Object.prototype).length === 0 && Reflect.get({}, 'polluted') === undefined;
}
