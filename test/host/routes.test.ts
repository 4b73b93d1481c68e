import { describe, expect, test } from 'vitest';
import { compileRoute, isConflict, isReserved, matchRoute } from '../../infra/local/host/routes.ts';

const match = (template: string, path: string, method = 'GET') =>
  matchRoute(compileRoute(template, 'api', ['GET']), method, path);

describe('route templates', () => {
  test.each([
    ['orders', '/api/orders', {}],
    ['orders', '/api/ORDERS', {}],
    ['orders', '/api/orders/', {}],
    ['orders', '/orders', undefined],
    ['{id}', '/api/7', { id: '7' }],
    ['{id}', '/api/a%20b%2Fc', { id: 'a b%2Fc' }],
    ['{id}', '/api', undefined],
    ['{id?}', '/api', {}],
    ['{id?}', '/api/x', { id: 'x' }],
    ['a/{id:int}', '/api/a/12', { id: '12' }],
    ['a/{id:int}', '/api/a/1x', undefined],
    ['a/{id:int}', '/api/a/2147483648', undefined],
    ['a/{id:long}', '/api/a/2147483648', { id: '2147483648' }],
    [
      'a/{id:guid}',
      '/api/a/0f8fad5b-d9cb-469f-a165-70867728950e',
      {
        id: '0f8fad5b-d9cb-469f-a165-70867728950e',
      },
    ],
    ['a/{id:guid}', '/api/a/7', undefined],
    ['a/{n:range(1,9)}', '/api/a/10', undefined],
    ['a/{n:length(2)}', '/api/a/ab', { n: 'ab' }],
    ['a/{n:alpha:minlength(2)?}', '/api/a', {}],
    ['a/{n:regex(^x[[0-9]]$)}', '/api/a/y', undefined],
    ['{*rest}', '/api/x/y/z', { rest: 'x/y/z' }],
    ['{*rest}', '/api', {}],
    ['f/{name}.{ext}', '/api/f/a.txt', { name: 'a', ext: 'txt' }],
  ])('%s takes %s as %j', (template, path, expected) => {
    expect(match(template, path)).toEqual(expected);
  });

  test('the wrong method is no match', () => {
    expect(match('orders', '/api/orders', 'POST')).toBeUndefined();
  });

  test('an empty prefix puts routes at the root', () => {
    expect(matchRoute(compileRoute('x', '', ['GET']), 'GET', '/x')).toEqual({});
  });

  test.each(['a/{id:mystery}', 'a/{id=5}', 'a/x{id?}'])('%s is refused by name', (template) => {
    expect(() => compileRoute(template, 'api', ['GET'])).toThrow(template.slice(2, 5));
  });

  test('the same template with a method in common clashes, without one it does not', () => {
    const one = compileRoute('a/{id}', 'api', ['get', 'post']);

    expect(isConflict(one, compileRoute('A/{id}', 'api', ['POST']))).toBe(true);
    expect(isConflict(one, compileRoute('a/{id}', 'api', ['PUT']))).toBe(false);
  });

  test('admin and runtime are reserved', () => {
    expect(['admin', '/Admin/x', 'runtime/y', 'adm'].map(isReserved)).toEqual([
      true,
      true,
      true,
      false,
    ]);
  });
});
