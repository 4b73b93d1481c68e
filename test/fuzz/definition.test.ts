// What an adopter in JavaScript can write instead of a definition, and what a handler can do:
// faults are listed when the app loads, or the key stops with a code. Nothing else happens.
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  type ConvoyDefinition,
  DefinitionError,
  assertRegistry,
  defineConvoy,
} from '../../shared/convoy/definition.ts';
import { type TestMessage, runConvoy } from '../../shared/run-convoy.ts';
import { anyValue, isUnpolluted, nastyTexts, runs } from './hostile.ts';

type Loose = Record<string, unknown>;
const define = (options: unknown): ConvoyDefinition => defineConvoy(options as never);

const anySchema = {
  '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) },
};
const good: Loose = {
  name: 'good',
  schema: anySchema,
  initialState: { n: 0 },
  apply: (state: unknown) => state,
};
const window: Loose = { name: 'w', kind: 'tumbling', seconds: 60, value: () => 1 };

function faultsOf(options: unknown): readonly string[] {
  try {
    define(options);
    return [];
  } catch (error) {
    expect(error).toBeInstanceOf(DefinitionError);
    return (error as DefinitionError).faults;
  }
}

describe('loading', () => {
  const fields =
    'name queue schema initialState effect effectSeconds apply retry onPoison order gap ' +
    'afterComplete windows version upcast migrate lingerSeconds retentionSeconds dedupSeconds';
  const ofWindow =
    'name kind seconds everySeconds gapSeconds calendar value reduce graceSeconds quietSeconds ' +
    'late earlyEvery rollUp';
  const throwing = Symbol('a getter that throws');
  const anyField = fc.oneof(anyValue, fc.constant(throwing));

  const withFields = (base: Loose, changed: readonly (readonly [string, unknown])[]): Loose => {
    const options: Loose = { ...base };
    for (const [name, value] of changed) {
      const get = (): unknown => {
        if (value === throwing) throw Object.create(null);
        return value;
      };
      Object.defineProperty(options, name, { get, enumerable: true, configurable: true });
    }
    return options;
  };
  const changes = (names: string) =>
    fc.array(fc.tuple(fc.constantFrom(...names.split(' '), 'other', '__proto__'), anyField), {
      maxLength: 4,
    });

  test('any field of any kind: a definition, or a list of its faults', () => {
    const property = fc.property(changes(fields), changes(ofWindow), (top, inner) => {
      const windows = [withFields(window, inner)];
      for (const fault of faultsOf(withFields({ ...good, windows }, top))) {
        expect(fault).toMatch(/^\S[^]{0,400}$/);
      }
    });
    fc.assert(property, runs(1_500));
    expect(isUnpolluted()).toBe(true);
  });

  test('anything at all in the place of a definition or of a registry', () => {
    const property = fc.property(anyValue, (given) => {
      expect(faultsOf(given).length).toBeGreaterThan(0);
      if (!Array.isArray(given) || given.length > 0) {
        expect(() => assertRegistry(given)).toThrow(DefinitionError);
      }
    });
    fc.assert(property, runs(500));
  });

  test.each<[string, unknown, RegExp]>([
    ['a proxy that answers nothing', new Proxy(good, { ownKeys: () => [][0] as never }), /cannot/],
    ['a revoked proxy', revoked(), /the definition: cannot be read/],
    ['a window that is null', { ...good, windows: [null] }, /windows\[0\]: must be an object/],
    ['a calendar that is null', { ...good, windows: [{ ...window, calendar: null }] }, /calendar/],
    ['a retry that is a text', { ...good, retry: 'often' }, /retry: must be an object/],
    ['a field of retry that is not known', { ...good, retry: { times: 3 } }, /retry\.times: unkn/],
    ['half an attempt', { ...good, retry: { attempts: 1.5 } }, /retry\.attempts/],
    ['a retention without end', { ...good, retentionSeconds: Infinity }, /retentionSeconds/],
    ['half a second of dedup', { ...good, dedupSeconds: 3600.5 }, /dedupSeconds/],
    ['a state of 10^4 levels', { ...good, initialState: deep(10_000) }, /initialState/],
    ['a state of 121 levels', { ...good, initialState: deep(121) }, /initialState/],
    ['a cyclic state', { ...good, initialState: cycle() }, /initialState/],
  ])('%s is a listed fault', (_, options, fault) => {
    expect(faultsOf(options).join('\n')).toMatch(fault);
  });

  test('a getter is read once: what was checked is what runs', () => {
    let reads = 0;
    const options = withFields(good, []);
    Object.defineProperty(options, 'apply', {
      enumerable: true,
      get: () => (reads++ === 0 ? (state: unknown) => state : 'no function'),
    });

    const definition = define(options);

    expect(runConvoy(definition, [{}]).settlements).toMatchObject([{ outcome: 'applied' }]);
  });

  test('an instance of a class keeps its own this', () => {
    class Counting {
      name = 'counting';
      schema = anySchema;
      initialState = 0;
      step = 2;
      apply(state: number) {
        return state + this.step;
      }
    }
    // What is no field of a definition is a fault, also in a class.
    expect(faultsOf(new Counting())).toEqual([expect.stringMatching(/^step: unknown/)]);
  });

  test('two convoys of one name, one queue, or one queue of outputs are refused', () => {
    const of = (name: string, queue = name) => define({ ...good, name, queue });
    const faults = (...convoys: unknown[]) => {
      try {
        assertRegistry(convoys);
        return '';
      } catch (error) {
        return String(error);
      }
    };

    expect(faults(of('a'), of('b'))).toBe('');
    expect(faults(of('a'), of('a'))).toMatch(/the name 'a' is used twice/);
    expect(faults(of('a', 'q'), of('b', 'Q'))).toMatch(/'Q' is the queue of 'a' already/);
    expect(faults(of('a'), of('b', 'a-out'))).toMatch(/'a-out' is the output queue of 'a'/);
    expect(faults(of('a'), { name: 'b' })).toMatch(/convoys\[1\]: must be what defineConvoy/);
  });
});

describe('running', () => {
  const rejections: unknown[] = [];
  const note = (reason: unknown): void => void rejections.push(reason);
  beforeEach(() => void process.on('unhandledRejection', note));
  afterEach(async () => {
    // A rejection counts as unhandled one turn after it happened.
    await new Promise((resolve) => setTimeout(resolve, 5));
    process.off('unhandledRejection', note);
    expect(rejections.splice(0)).toEqual([]);
  });

  const message: TestMessage = { id: 'bad', body: { n: 1 } };
  const held = (definition: ConvoyDefinition) => {
    const { hold, state, settlements, outputs } = runConvoy(definition, [message, {}]);
    expect([settlements, outputs]).toEqual([[], []]);
    return { ...hold, state };
  };
  const rejecting = async (): Promise<never> => {
    throw new TypeError('met by nobody');
  };

  const anything = { initialState: { n: 7 } };
  const unstorable: [string, () => unknown][] = [
    ['nothing', () => undefined],
    ['NaN', () => NaN],
    ['a bigint', () => 1n],
    ['a symbol', () => Symbol('s')],
    ['a function', () => () => 1],
    ['a cycle', cycle],
    ['121 levels', () => deep(121)],
    ['10^4 levels', () => deep(10_000)],
    ['a Map', () => new Map([['a', 1]])],
    ['a promise', async () => ({ n: 1 })],
    ['a promise that rejects', rejecting],
    ['toJSON that throws', () => ({ toJSON: () => JSON.parse('') })],
    ['a revoked proxy', revoked],
  ];
  test.each(unstorable)('apply that returns %s: CVY_HANDLER, nothing changed', (_, apply) => {
    expect(held(define({ ...good, ...anything, apply }))).toMatchObject({
      kind: 'blocked',
      code: 'CVY_HANDLER',
      position: 1,
      state: { n: 7 },
    });
  });

  const thrown: [string, () => unknown][] = [
    ['null', () => null],
    ['nothing', () => undefined],
    ['a symbol', () => Symbol('s')],
    ['an object without text', () => Object.create(null)],
    ['an Error whose message is no text', () => Object.assign(new Error(), { message: 42 })],
    ['an Error whose message throws', () => Object.create(Error.prototype, badMessage)],
    ['a revoked proxy', revoked],
    ['a text of a million characters', () => 'x'.repeat(1_000_000)],
    ['broken Unicode', () => new Error(`${'x'.repeat(1023)}👍`)],
  ];
  test.each(thrown)('apply that throws %s: CVY_HANDLER with a reason', (_, make) => {
    const apply = () => {
      throw make();
    };
    const { code, reason } = held(define({ ...good, apply }));
    expect(code).toBe('CVY_HANDLER');
    expect(reason?.length).toBeLessThanOrEqual(1024);
    expect(reason?.isWellFormed()).toBe(true);
  });

  test.each<[string, Loose]>([
    ['throws', { validate: () => JSON.parse('') }],
    ['answers nothing', { validate: () => undefined }],
    ['answers a text', { validate: () => 'fine' }],
    ['answers asynchronously', { validate: async (value: unknown) => ({ value }) }],
    ['rejects', { validate: rejecting }],
    ['lists issues that are none', { validate: () => ({ issues: 5 }) }],
    [
      'names a path that has no text',
      { validate: () => ({ issues: [{ path: [{ key: nobody() }] }] }) },
    ],
  ])('a schema that %s: CVY_HANDLER', (_, standard) => {
    const schema = { '~standard': { version: 1, vendor: 'test', ...standard } };
    expect(held(define({ ...good, schema }))).toMatchObject({ code: 'CVY_HANDLER' });
  });

  test.each<[string, unknown]>([
    ['NaN', NaN],
    ['Infinity', Infinity],
    ['a text', '5'],
    ['null', null],
    ['true', true],
    ['a symbol', Symbol('s')],
    ['an object', {}],
    ['a bigint of a million digits', 10n ** 1_000_000n],
  ])('a window value of %s: CVY_HANDLER', (_, value) => {
    const windows = [{ ...window, value: () => value }];
    expect(held(define({ ...good, windows }))).toMatchObject({ code: 'CVY_HANDLER' });
  });

  test.each<[string, Loose]>([
    ['an asynchronous value', { value: rejecting }],
    ['an asynchronous reducer', { reduce: { initial: 0, add: rejecting } }],
    ['a reducer that throws', { reduce: { initial: 0, add: () => JSON.parse('') } }],
    ['a reducer of 121 levels', { reduce: { initial: 0, add: () => deep(121) } }],
    ['a reducer of a Set', { reduce: { initial: 0, add: () => new Set() } }],
  ])('%s: CVY_HANDLER', (_, changed) => {
    expect(held(define({ ...good, windows: [{ ...window, ...changed }] }))).toMatchObject({
      code: 'CVY_HANDLER',
    });
  });

  test('a sum beyond all numbers stays a number', () => {
    const windows = [{ ...window, value: () => 1.7e308 }];
    const { openWindows } = runConvoy(define({ ...good, windows }), [{}, {}, {}]);
    expect(openWindows).toMatchObject([{ count: 3, sum: Number.MAX_VALUE }]);
  });

  test('a merge that changes its arguments and throws changes no window', () => {
    const merge = (a: Loose, b: Loose) => {
      a['n'] = b['n'] = 'spoilt';
      throw new TypeError('merge');
    };
    const reduce = { initial: { n: 0 }, add: (result: Loose) => ({ ...result }), merge };
    const windows = [{ name: 's', kind: 'session', gapSeconds: 10, value: () => 1, reduce }];
    const at = [0, 15_000, 8_000];
    const run = runConvoy(
      define({ ...good, windows: windows.map((one) => ({ ...one, graceSeconds: 60 })) }),
      at.map((ms) => ({ occurredAt: ms })),
    );
    expect(run.hold).toMatchObject({ code: 'CVY_HANDLER', position: 3 });
    expect(run.openWindows.map(({ result }) => result)).toEqual([{ n: 0 }, { n: 0 }]);
  });

  test.each<[string, unknown, unknown]>([
    ['a body that is a cycle', 'Noted', cycle()],
    ['a body that is a bigint', 'Noted', 1n],
    ['a body that is a promise', 'Noted', Promise.resolve(1)],
    ['a body of 300 KB', 'Noted', 'x'.repeat(300_000)],
    ['a type that is a symbol', Symbol('s'), 1],
    ['an empty type', '', 1],
    ['a type of broken Unicode', '\ud800', 1],
    ["a window's own type", 'window.closed', 1],
  ])('emit of %s: CVY_HANDLER and nothing is sent', (_, type, body) => {
    const apply = (state: unknown, _message: unknown, context: { emit: Function }) => {
      context.emit('First', 1);
      context.emit(type, body);
      return state;
    };
    expect(held(define({ ...good, apply }))).toMatchObject({ code: 'CVY_HANDLER' });
  });

  test('emit of names that mean something to JavaScript arrives as it was', () => {
    const body: unknown = JSON.parse('{"__proto__":{"polluted":1},"constructor":{"a":1}}');
    const apply = (state: unknown, _message: unknown, context: { emit: Function }) => {
      for (const type of nastyTexts) context.emit(type, body);
      return state;
    };
    const { outputs } = runConvoy(define({ ...good, apply }), [{}]);
    expect(outputs.map(({ type }) => type)).toEqual(nastyTexts);
    expect(outputs.map((one) => JSON.stringify(one.body))).toEqual(
      nastyTexts.map(() => JSON.stringify(body)),
    );
    expect(isUnpolluted()).toBe(true);
  });

  test('a state too large for one transaction: CVY_TOO_LARGE', () => {
    const apply = () => 'x'.repeat(2_000_000);
    expect(held(define({ ...good, apply }))).toMatchObject({ code: 'CVY_TOO_LARGE' });
  });

  test('what a handler changes in its arguments does not outlive the message', () => {
    const apply = (state: { n: number }, { body }: { body: Loose }) => {
      state.n += 1;
      body['n'] = 'spoilt';
      if (state.n === 2) throw new TypeError('after the change');
      return state;
    };
    const { state, hold } = runConvoy(define({ ...good, apply }), [message, message, {}]);
    expect([state, hold.code]).toEqual([{ n: 1 }, 'CVY_HANDLER']);
  });

  test.each<[string, (value: unknown) => unknown, string]>([
    ['upcast', rejecting, 'CVY_HANDLER'],
    ['migrate', rejecting, 'CVY_MIGRATE'],
    ['migrate', () => NaN, 'CVY_MIGRATE'],
    ['migrate', () => deep(121), 'CVY_MIGRATE'],
  ])('%s that does not give its value at once: %#', (field, step, code) => {
    const upcast = { 1: (body: unknown) => body };
    const next = define({ ...good, version: 2, upcast, [field]: { 1: step } });
    const { progress } = runConvoy(define(good), [{}]);

    const { hold, state } = runConvoy(next, [{ id: 'later', schemaVersion: 1 }], {
      progress: { ...progress, cursor: 0 },
    });

    expect([hold.code, state]).toEqual([code, { n: 0 }]);
  });
});

function deep(levels: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < levels; level++) value = [value];
  return value;
}

function cycle(): unknown {
  const value: Loose = {};
  value['self'] = value;
  return value;
}

const nobody = (): unknown => Object.create(null);

const badMessage = {
  message: {
    get() {
      throw new TypeError('no message');
    },
  },
};

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}
