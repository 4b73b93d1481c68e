// Windows against a fold of their own: what every key counted is what its messages add up to, and
// what was published last says the same. Where the wall clock decides (quiet time with `drop`),
// only what must hold in any case is asked.
import type { CheckedWindow } from '../../../shared/convoy/window-definition.ts';
import type { InboxItem, WindowItem } from '../../../shared/store/items.ts';
import type { OpenWindow, Output } from '../../../shared/convoy/state.ts';
import type { Oracle, Scene } from './oracle.ts';
import type { OutputsOracle } from './outputs.ts';
import type { RestOracle } from './rest.ts';

interface Sum {
  count: number;
  sum: number;
}

export function windowsOracle(scene: Scene, outputs: OutputsOracle, rest: RestOracle): Oracle {
  return {
    atEnd() {
      if (scene.plot.mayForget) return; // windows expire there
      for (const key of rest.keys) {
        for (const window of scene.plot.windows) checkWindow({ scene, outputs, key }, window);
      }
    },
  };
}

interface Checked {
  scene: Scene;
  outputs: OutputsOracle;
  key: string;
}

function checkWindow({ scene, outputs, key }: Checked, window: CheckedWindow): void {
  const { cosmos, convoyIdOf, report } = scene;
  const convoyId = convoyIdOf(key);
  const say = (message: string): void =>
    report({ oracle: 'windows', rule: 'H5', message: `${window.name}: ${message}`, key });
  const partition = cosmos.partition(convoyId);
  const at = { version: partition.version };
  const closed = cosmos
    .all(partition, { kind: 'window', ...at })
    .filter((item) => item.window === window.name);
  const progress = cosmos.latest(convoyId, 'progress', 'progress');
  const open = (progress?.openWindows ?? []).filter((one) => one.window === window.name);
  const applied = cosmos
    .all(partition, { kind: 'inbox', ...at })
    .filter(({ outcome }) => outcome === 'applied')
    .sort((a, b) => (a.settlement ?? 0) - (b.settlement ?? 0));
  const closings = closingsIn(outputs.streamOf(key).committed, window.name);
  for (const item of closed) checkPublished(item, closings, say);
  checkTotals(window, { all: [...closed, ...open], applied }, say);
}

function closingsIn(committed: readonly Output[], name: string): Record<string, unknown>[] {
  return committed
    .filter(({ type }) => type === 'window.closed')
    .map(({ bodyText }) => JSON.parse(bodyText) as Record<string, unknown>)
    .filter(({ window }) => window === name);
}

/** Of each closed window every revision was emitted, from 0 on, and the last one is the item. */
function checkPublished(
  item: WindowItem,
  closings: readonly Record<string, unknown>[],
  say: (message: string) => void,
): void {
  const startsAt = isoOf(item.start);
  const bodies = closings.filter(({ start }) => start === startsAt);
  const revisions = bodies.map(({ revision }) => revision).join();
  const expected = Array.from({ length: item.revision + 1 }, (_, revision) => revision).join();
  if (revisions !== expected) say(`revisions ${revisions} of ${item.start}, not ${expected}`);
  const last = bodies.at(-1);
  if (last?.['count'] !== item.count || last['sum'] !== item.sum) {
    say(`${item.start} holds ${item.count}, published was ${String(last?.['count'])}`);
  }
}

const isoOf = (ms: number): string => new Date(ms).toISOString().replace('.000Z', 'Z');

function checkTotals(
  window: CheckedWindow,
  found: { all: readonly OpenWindow[]; applied: readonly InboxItem[] },
  say: (message: string) => void,
): void {
  const { all, applied } = found;
  const total = (sums: Iterable<Sum>): string => {
    let [count, sum] = [0, 0];
    for (const one of sums) [count, sum] = [count + one.count, sum + one.sum];
    return `${count} (${sum})`;
  };
  const counted = all.map(({ count, sum }) => ({ count, sum: Number(sum) }));
  const expected = foldOf(window, applied);
  const isExact = window.kind !== 'session' && expected.isExact;
  if (!isExact) {
    // Every message is in exactly one window of these, or at most in one.
    const isWhole = window.kind !== 'hopping' && window.late !== 'drop';
    const [is, should] = [total(counted), total(expected.sums.values())];
    if (isWhole && is !== should) say(`windows hold ${is}, the messages come to ${should}`);
    return;
  }
  const starts = new Set([...expected.sums.keys(), ...all.map(({ start }) => start)]);
  for (const start of starts) {
    const is = total(all.filter((one) => one.start === start).map(asSum));
    const one = expected.sums.get(start);
    const should = total(one ? [one] : []);
    if (is !== should) say(`window ${start} holds ${is}, the messages come to ${should}`);
  }
}

const asSum = ({ count, sum }: OpenWindow): Sum => ({ count, sum: Number(sum) });

/** The fold: messages in the order in which they settled, each into the windows of its time. */
function foldOf(
  window: CheckedWindow,
  applied: readonly InboxItem[],
): { sums: Map<number, Sum>; isExact: boolean } {
  const sums = new Map<number, Sum>();
  let watermark = -Infinity;
  const dropsByEventTime = window.late === 'drop' && window.quietSeconds === undefined;
  for (const item of applied) {
    const value = valueOf(item);
    for (const start of startsOf(window, item.occurredAt)) {
      const closesAt = start + (window.seconds + window.graceSeconds) * 1000;
      if (dropsByEventTime && closesAt <= watermark) continue;
      const sum = sums.get(start) ?? { count: 0, sum: 0 };
      sums.set(start, { count: sum.count + 1, sum: sum.sum + value });
    }
    watermark = Math.max(watermark, item.occurredAt);
  }
  const isKept = window.late === 'amend' || window.late === 'park';
  return { sums, isExact: isKept || dropsByEventTime };
}

function startsOf(window: CheckedWindow, at: number): number[] {
  if (window.kind === 'session') return [at];
  const [lengthMs, everyMs] = [window.seconds * 1000, window.everySeconds * 1000];
  const starts: number[] = [];
  for (let start = Math.floor(at / everyMs) * everyMs; start > at - lengthMs; start -= everyMs) {
    starts.push(start);
  }
  return starts;
}

/** Every scenario with windows counts the field `n` of its bodies. */
function valueOf({ bodyText = '{}' }: InboxItem): number {
  const body = JSON.parse(bodyText) as { n?: number };
  return body.n ?? 0;
}
