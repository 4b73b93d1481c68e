// How a rule is broken: texts of the compiled engine, each of which stands there exactly once.
import type { Patch } from './code.ts';
import { smallScopes } from './scopes.ts';
import type { Scope } from './scope.ts';

export interface Mutant {
  rule: string;
  name: string;
  /** Name of a small scope. */
  scope: string;
  patches: readonly Patch[];
  changes?: Partial<Scope>;
  /** Why nobody could tell: then the whole scope must be found to be right. */
  equivalent?: string;
}

/** The small scope of a mutant, with its changes. */
export function scopeOf({ name, scope, changes }: Mutant): Scope {
  const small = smallScopes.find((one) => one.name === scope);
  if (small === undefined) throw new RangeError(`${name}: there is no scope '${scope}'`);
  return { ...small, ...changes };
}

export const admit = 'shared/engine/admit.js';
export const commit = 'shared/engine/commit.js';
export const context = 'shared/engine/drain-context.js';
export const convoy = 'functions/convoy.js';
export const drain = 'shared/engine/drain.js';
export const handoff = 'shared/convoy/handoff.js';
export const keys = 'shared/keys.js';
export const load = 'shared/engine/load.js';
export const operate = 'shared/engine/operate.js';
export const outbox = 'shared/engine/outbox.js';
export const started = 'shared/engine/ensure-started.js';
export const sweep = 'shared/engine/sweep.js';

export function patch(file: string, find: string, replace: string): Patch {
  return { file, find, replace };
}

/** A replace whose If-Match any item fulfils. `find` ends with the ETag. */
export function unmatched(file: string, find: string): Patch {
  return { file, find, replace: find.replace(/ifMatch: \S+$/, "ifMatch: '*'") };
}

/** The engine's own assertions would stop some mutants before the rules see them. */
export const unasserted = patch(
  handoff,
  'export function assertHandoff(gate, progress) {',
  'export function assertHandoff(gate, progress) { return;',
);

/** Instance ids without the epoch: the next epoch has the id of the one that ends. */
export const idUsedAgain = patch(keys, '.slice(0, 40)}-${epoch}`', '.slice(0, 40)}-`');

const closeBegins = 'const result = await engine.store.batch(drain.convoyId, [';
const operation = (item: string, ifMatch: string): string =>
  `        { kind: 'replace', item: ${item}, ifMatch: ${ifMatch} },`;
const closedGate = 'gateItem(request, after.gate)';
const closedProgress = 'progressItem(request, after.progress)';

/** Another batch, and whatever comes before it, in place of the close. */
export function closesWith(options: { gate: string; progress: string; before?: string }): Patch {
  const find = [closeBegins, operation(closedGate, 'gate.etag'), operation(closedProgress, 'etag')];
  const { gate, progress, before = '' } = options;
  const replace = [
    before + closeBegins,
    operation(closedGate, gate),
    operation(closedProgress, progress),
  ];
  return patch(drain, find.join('\n'), replace.join('\n'));
}

/** The rest of a held key; its gate reads like the gate of a close. */
export function restsWith(options: { gate: string; progress: string }): Patch {
  const find = [operation(closedGate, 'gate.etag'), operation(closedProgress, 'progress.etag')];
  const replace = [
    operation(closedGate, options.gate),
    operation(closedProgress, options.progress),
  ];
  return patch(drain, find.join('\n'), replace.join('\n'));
}

export const startsNothing = (file: string): Patch =>
  patch(
    file,
    'await ensureStarted(engine, place, { gate: after.gate, wake: false, duplicate: false });',
    '',
  );

export const readBound = 'Math.min(drain.gate.item.tail, from + settings.messagesPerCommit - 1)';
export const takesBacklog =
  'if (cursor < gate.item.tail || hasHeldWork(definition, drain.progress.item))';
export const drainsFirst = 'const result = yield* drainOnce(';
export const readsGateFirst = [
  'const read = await engine.store.readGate(convoyId);',
  'const progress = pass.progress ?? (await readProgress(engine.store, convoyId));',
];
