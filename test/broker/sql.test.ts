// SQL filters and actions: what they select, what they assign, and what they refuse.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Refusal } from '../../infra/local/broker/conditions.ts';
import { FilterFault, assign, holds } from '../../infra/local/broker/sql-evaluate.ts';
import type { FilterMessage } from '../../infra/local/broker/sql-evaluate.ts';
import { parseAction, parseCondition } from '../../infra/local/broker/sql-parse.ts';
import type { FilterValue } from '../../infra/local/broker/sql-parse.ts';

const user: Record<string, FilterValue> = {
  color: 'red',
  n: 5n,
  big: 9_007_199_254_740_993n,
  ratio: 2.5,
  isnew: true,
  nothing: null,
  day: new Date('2026-01-02'),
  'a b': 'spaced',
};
const message: FilterMessage = {
  system: (name) => ({ Label: 'green', CorrelationId: 'c-1' })[name],
  user: (name) => user[name.toLowerCase()],
};

const parameters = new Map<string, FilterValue>([
  ['@color', 'red'],
  ['@Five', 5n],
  ['@day', new Date('2026-01-02')],
]);
const evaluate = (text: string): boolean | undefined =>
  holds(parseCondition(text, parameters), message);

describe('conditions', () => {
  const cases: [string, boolean | undefined][] = [
    ["color = 'red'", true],
    ["Color = 'red' AND N = 5", true],
    ["user.color <> 'blue'", true],
    ["color = 'RED'", false],
    ["sys.Label = 'green' AND sys.label LIKE 'gr%'", true],
    ['n + 1 = 6 AND n * 2 - 1 = 9', true],
    ['n / 2 = 2 AND n % 2 = 1', true],
    ['ratio * 2 = 5', true],
    ['n > 4.5 AND n <= 5.0', true],
    ['big = 9007199254740993', true],
    ['-n = -5 AND - -n = 5', true],
    ['2 + 3 * 4 = 14 AND (2 + 3) * 4 = 20', true],
    ['1.5E1 = 15', true],
    ["color + '!' = 'red!'", true],
    ['isNew = TRUE', true],
    ['day = @day', true],
    ["color = @COLOR AND n = @five AND 'it''s' = 'it''s'", true],
    ["[a b] = 'spaced' AND \"a b\" LIKE '%ced'", true],
    ["property('co' + 'lor') = 'red' AND p('n') = 5", true],
    ["color IN ('blue', 'red')", true],
    ["color NOT IN ('blue', 'red')", false],
    ["color LIKE 'r_d' AND color NOT LIKE 'b%'", true],
    ["'50%' LIKE '50!%' ESCAPE '!' AND NOT '50x' LIKE '50!%' ESCAPE '!'", true],
    ["'aXbXc' LIKE '%X%X%' AND NOT 'aXb' LIKE '%X%X%'", true],
    ['color IS NOT NULL AND missing IS NULL AND nothing IS NULL', true],
    ['EXISTS(color) AND NOT EXISTS (missing)', true],
    ['EXISTS(nothing)', true],
    ['1=1', true],
    ['1=0 OR NOT 1=0', true],
    // Weakest first: OR, AND, NOT.
    ['1=1 OR 1=0 AND 1=0', true],
    ['(1=1 OR 1=0) AND 1=0', false],
    ['NOT 1=0 AND 1=0', false],
  ];
  test.each(cases)('%s is %s', (text, expected) => {
    expect(evaluate(text)).toBe(expected);
  });

  test('AND, OR and NOT have three values', () => {
    const of = { T: '1=1', F: '1=0', U: 'missing = 1' };
    const name = (value: boolean | undefined) => (value === undefined ? 'U' : value ? 'T' : 'F');
    const combined = (word: string): string =>
      Object.values(of)
        .flatMap((a) => Object.values(of).map((b) => name(evaluate(`${a} ${word} ${b}`))))
        .join('');

    expect(combined('AND')).toBe('TFUFFFUFU');
    expect(combined('OR')).toBe('TTTTFUTUU');
    expect(Object.values(of).map((a) => name(evaluate(`NOT ${a}`)))).toEqual(['F', 'T', 'U']);
  });

  test.each([
    ...['missing = 1', 'missing <> 1', 'missing + 1 = 1', '-missing = 1', 'nothing = nothing'],
    ...["missing LIKE 'a'", 'color LIKE missing', 'missing IN (1)', 'n IN (1, missing)'],
  ])('%s is unknown', (text) => {
    expect(evaluate(text)).toBeUndefined();
  });

  test.each([
    ...["n = 'five'", "color > 'blue'", 'n LIKE 5', 'color * 2 = 1', 'n / 0 = 1', '-color = 1'],
    ...["color LIKE 'r' ESCAPE 'xy'", 'isNew = 1', 'property(n) = 1'],
  ])('%s cannot be evaluated', (text) => {
    expect(() => evaluate(text)).toThrow(FilterFault);
  });
});

describe('refusals', () => {
  test.each([
    ['', 'a value is expected'],
    ['color', 'a condition is expected'],
    ["color = 'red", "closing ' is missing"],
    ['color = ', 'a value is expected'],
    ['a = 1 b', 'the end is expected'],
    ['a = 1 AND b', 'a condition is expected'],
    ['(a = 1) + 1 = 2', 'an expression is expected'],
    ['a # 1', "unexpected '#'"],
    ['a = @missing', 'the parameter @missing has no value'],
    ['sys.Colour = 1', "system property 'Colour' does not exist"],
    ['sys.EnqueuedTimeUtc = 1', 'does not support sys.EnqueuedTimeUtc'],
    ['other.a = 1', "scope 'other' does not exist"],
    ['newid() = 1', 'does not support the SQL function newid()'],
    ['lower(a) = 1', 'the function lower does not exist'],
    ['1 IS NULL', 'a property before IS'],
    ['select = 1 NOT', 'the end is expected'],
    ['a = 9223372036854775808', 'exceeds 64 bits'],
    [`a = '${'x'.repeat(1_024)}'`, '1024 are allowed'],
    [`${'('.repeat(40)}a = 1${')'.repeat(40)}`, 'nested deeper'],
    [`${'NOT '.repeat(40)}a = 1`, 'nested deeper'],
  ])('%s', (text, detail) => {
    expect(() => parseCondition(text, parameters)).toThrow(detail);
  });

  test('whatever the text, parsing ends, with a tree or a refusal', () => {
    const words = fc.constantFrom(
      ...["a = 'x'", 'AND', 'OR', 'NOT', '(', ')', ',', '.', '[b', ']', 'IN', 'LIKE', 'ESCAPE'],
      ...['IS NULL', 'EXISTS', '1', '2.5E3', "'", '"', '@p', '+', '-', '*', '%', '<>', 'sys', 'ß'],
    );
    const texts = fc.oneof(
      fc.array(words, { maxLength: 40 }).map((all) => all.join(' ')),
      fc.string({ maxLength: 60 }),
    );
    fc.assert(
      fc.property(texts, (text) => {
        for (const parse of [parseCondition, parseAction]) {
          try {
            parse(text, parameters);
          } catch (error) {
            expect(error).toBeInstanceOf(Refusal);
          }
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('actions', () => {
  const assigned = (text: string) =>
    assign(parseAction(text, parameters), message).map(({ property, value }) => [
      `${property.scope}.${property.name}`,
      value,
    ]);

  test('set and remove, each statement sees the ones before it', () => {
    const text =
      "SET n = n + 1; SET m = n * 2, REMOVE color; SET sys.Label = 'x' SET gone = missing";

    expect(assigned(text)).toEqual([
      ['user.n', 6n],
      ['user.m', 12n],
      ['user.color', undefined],
      ['sys.Label', 'x'],
      ['user.gone', null],
    ]);
  });

  test.each([
    ['', 'SET or REMOVE is expected'],
    ['UPDATE a = 1', 'SET or REMOVE is expected'],
    ['SET a', "'=' is expected"],
    ['SET a = (b = 1)', 'an expression is expected'],
    [Array.from({ length: 33 }, () => 'SET a=1').join(';'), 'at most 32'],
  ])('%s is refused', (text, detail) => {
    expect(() => parseAction(text, parameters)).toThrow(detail);
  });
});
