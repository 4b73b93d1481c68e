// The house style as a test: one table of rules. What a linter knows better (any, default exports,
// cycles, function length, parameters) stands in oxlint.json; this table has what only we know.
import { describe, expect, test } from 'vitest';
import { type SourceFile, codeOf, readText, sourceFiles, wordsOf } from './source.ts';

const files = sourceFiles();
const isSource = (file: SourceFile): boolean => !file.path.startsWith('test/');
const isProduct = (file: SourceFile): boolean => /^(shared|functions)\//.test(file.path);

/** Who may import what, the first match counts; a prefix allows everything below it. */
const directions: { from: RegExp; may: string[] }[] = [
  { from: /^shared\/convoy\//, may: ['shared/convoy/', 'node:assert'] },
  {
    from: /^shared\/store\/cosmos/,
    may: [
      ...['shared/store/', 'shared/convoy/', 'shared/keys.ts', 'shared/errors.ts'],
      ...['shared/clock.ts', 'shared/lanes.ts', 'node:', '@azure/cosmos', '@azure/identity'],
    ],
  },
  {
    from: /^shared\/store\//,
    may: [
      ...['shared/store/', 'shared/convoy/', 'shared/keys.ts', 'shared/errors.ts'],
      ...['shared/clock.ts', 'shared/lanes.ts', 'node:'],
    ],
  },
  {
    from: /^shared\/engine\//,
    may: [
      ...['shared/engine/', 'shared/convoy/', 'shared/store/store.ts', 'shared/store/items.ts'],
      ...['shared/keys.ts', 'shared/errors.ts', 'shared/clock.ts', 'shared/log.ts'],
      ...['shared/calendar.ts', 'shared/lanes.ts', 'shared/throttling.ts'],
      ...['shared/envelope.ts', 'node:'],
    ],
  },
  {
    // Senders must not drag in the engine.
    from: /^shared\/(sender|sender-lanes|sender-wire|outgoing|keys|errors|clock|service-bus)\.ts$/,
    may: [
      ...['shared/outgoing.ts', 'shared/keys.ts', 'shared/errors.ts', 'shared/clock.ts'],
      ...['shared/service-bus.ts', 'shared/throttling.ts', 'shared/log.ts', 'node:'],
      ...['shared/lanes.ts', 'shared/sender-lanes.ts', 'shared/sender-wire.ts'],
      ...['@azure/service-bus', '@azure/identity', 'shared/convoy/json.ts'],
    ],
  },
  { from: /^shared\//, may: ['shared/', '@azure/service-bus', '@azure/identity', 'node:', 'zod'] },
  {
    from: /^functions\/convoys\//,
    may: ['functions/convoys/', 'shared/convoy/definition.ts', 'zod'],
  },
  {
    from: /^functions\/[^/]+\.ts$/,
    may: [
      ...['functions/convoys/', 'functions/operator/', 'functions/wiring/', 'shared/'],
      ...['@azure/functions', 'durable-functions', 'node:'],
    ],
  },
  {
    from: /^functions\//,
    may: [
      'functions/convoys/registry.ts',
      'functions/operator/',
      'functions/wiring/',
      'shared/',
      '@azure/functions',
      'durable-functions',
      'node:',
    ],
  },
  {
    from: /^infra\/local\/broker\//,
    may: ['infra/local/broker/', 'shared/clock.ts', 'node:', 'rhea'],
  },
  { from: /^infra\/local\/cosmos\//, may: ['infra/local/cosmos/', 'shared/clock.ts', 'node:'] },
  { from: /^infra\/local\/durable\//, may: ['infra/local/durable/', 'shared/clock.ts', 'node:'] },
  {
    from: /^infra\/local\/host\//,
    may: [
      ...['infra/local/host/', 'infra/local/durable/', 'shared/clock.ts', 'node:'],
      ...['@azure/service-bus', '@azure/functions', 'cron-parser'],
    ],
  },
  {
    from: /^infra\/local\/sample\/observ/,
    may: ['infra/local/sample/', '@azure/service-bus', 'node:'],
  },
  {
    from: /^infra\//,
    may: [
      ...['infra/', 'shared/', 'node:', '@azure/service-bus', '@azure/identity'],
      ...['commander', 'cli-progress', 'csv-parse'],
    ],
  },
  { from: /^test\//, may: [''] },
];

function strayImports({ path, imports }: SourceFile): string[] {
  const may = directions.find(({ from }) => from.test(path))?.may ?? [];
  return imports.filter((to) => !may.some((allowed) => to === allowed || under(to, allowed)));
}

function under(to: string, allowed: string): boolean {
  if (allowed === '' || allowed.endsWith('/') || allowed.endsWith(':'))
    return to.startsWith(allowed);
  return to.startsWith(`${allowed}/`);
}

const bannedWords = [
  'saga',
  'ack',
  'nack',
  'dlq',
  'workflow',
  'manager',
  'helper',
  'util',
  'utils',
];
/** Words that are right elsewhere (SQLite, CSV, Cosmos) and wrong for our items. */
const bannedForItems = ['row', 'rows', 'document', 'documents', 'lease', 'leases'];

/** A date made of given numbers is pure; the clock's is not. */
const impure = new RegExp(
  [
    /\b(?:await|process|setTimeout|setInterval|setImmediate)\b/,
    /\b(?:Date\.now|Math\.random)\b|\bnew Date\(\s*\)/,
  ]
    .map(({ source }) => source)
    .join('|'),
  'g',
);

/** Loaded or run by name, not by import. */
const entries = [
  /^functions\/[^/]+\.ts$/,
  /^infra\/cli\.ts$/,
  /^test\/.*\.(test|config)\.ts$/,
  /^test\/(bench|crash|soak)\//,
  /^test\/simulation\/sim\.ts$/,
  /^test\/model\/main\.ts$/,
];

const imported = new Set(files.flatMap((file) => file.imports));
const isNamed = ({ path }: SourceFile): boolean => {
  const stem = path.split('/').at(-1)?.replace(/ts$/, '') ?? path;
  const names = [`${stem}ts`, `${stem}js`];
  return files.some(
    (other) => other.path !== path && names.some((name) => other.text.includes(name)),
  );
};

const lineFaults = (file: SourceFile, isWrong: (line: string) => boolean): string[] =>
  file.lines.flatMap((line, at) => (isWrong(line) ? [`line ${at + 1}`] : []));

interface Rule {
  name: string;
  in?: (file: SourceFile) => boolean;
  faults(file: SourceFile): string[];
}

const rules: Rule[] = [
  {
    name: 'a file has at most 400 lines',
    faults: ({ lines }) => (lines.length > 401 ? [`${lines.length - 1} lines`] : []),
  },
  {
    name: 'a line has at most 100 columns',
    faults: (file) => lineFaults(file, (line) => line.length > 100 && !/https?:\/\//.test(line)),
  },
  {
    name: 'folders are at most 3 deep, files are kebab-case, there is no barrel',
    faults: ({ path }) => {
      const isRight = /^([a-z0-9.-]+\/){1,3}[a-z0-9-]+(\.(test|contract|config))?\.ts$/.test(path);
      return isRight && !path.endsWith('/index.ts') ? [] : ['the path'];
    },
  },
  { name: 'imports go only in the directions of the house', faults: strayImports },
  {
    name: 'a PURE file is pure',
    in: ({ lines }) => /^\/\/ PURE\b/.test(lines[0] ?? ''),
    faults: ({ code }) => [...code.matchAll(impure)].map(([word]) => word),
  },
  {
    name: 'no identifier uses a banned word',
    faults: ({ code }) => bannedWords.filter((word) => wordsOf(code).has(word)),
  },
  {
    name: 'items are called items',
    in: (file) => isProduct(file) && !/cosmos/.test(file.path),
    faults: ({ code }) => bannedForItems.filter((word) => wordsOf(code).has(word)),
  },
  {
    name: 'what people meet is a ConvoyError or a class of its own, never a bare Error',
    in: isProduct,
    faults: ({ code }) => [...code.matchAll(/throw new Error\b/g)].map(([text]) => text),
  },
  {
    name: 'a TODO names its issue',
    faults: (file) =>
      lineFaults(file, (line) => /\/\/.*\b(TODO|FIXME|XXX)\b/.test(line) && !/#\d+/.test(line)),
  },
  {
    name: 'every file is imported by someone or is an entry point',
    faults: (file) =>
      imported.has(file.path) || entries.some((entry) => entry.test(file.path)) || isNamed(file)
        ? []
        : ['nobody'],
  },
  {
    name: 'source does not import tests',
    in: isSource,
    faults: ({ imports }) => imports.filter((to) => to.startsWith('test/')),
  },
];

describe('the house is tidy', () => {
  test.each(rules)('$name', ({ in: applies = () => true, faults }) => {
    const found = files
      .filter(applies)
      .flatMap((file) => faults(file).map((fault) => `${file.path}: ${fault}`));

    expect(found).toEqual([]);
  });

  test('the reader of sources tells code from comments, strings and expressions', () => {
    const text =
      "a /* saga */ 'dlq' `ack ${nack + `util ${helper}`}` // row\nif (/lease'/.test(b)) c";

    expect([...wordsOf(codeOf(text))].sort()).toEqual([
      'a',
      'b',
      'c',
      'helper',
      'if',
      'nack',
      'test',
    ]);
  });

  test('production dependencies are the five of Azure and at most five more', () => {
    const manifest = JSON.parse(readText('package.json')) as { dependencies: object };
    const others = Object.keys(manifest.dependencies).filter(
      (name) => !name.startsWith('@azure/') && name !== 'durable-functions',
    );

    expect(others.length).toBeLessThanOrEqual(5);
  });
});
