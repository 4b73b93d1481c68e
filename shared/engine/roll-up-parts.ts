// [H13] The content of one revision: all contributions of a window in the order of their ids, cut
// into parts that the broker takes. Read twice: first for totals and digests, then to publish. The
// second reading has to give what the first one gave, part by part, or nothing of it leaves.
import { type RollUpTotals, addKey } from '../convoy/roll-up.ts';
import { isoInstant } from '../clock.ts';
import { hexHash } from '../keys.ts';
import type { ContributionItem, RollUpItem } from '../store/items.ts';
import type { RollUpStore } from '../store/store.ts';

/** Bytes of a part's body beside its contributions. */
const frameBytes = 2_000;
const pageItems = 500;
/** Parts kept from the first reading, so that the usual window is read once: about 4 MB. */
const partsKept = 16;

export interface Content {
  totals: RollUpTotals | undefined;
  digest: string;
  /** One digest per part. */
  parts: string[];
  /** The parts themselves, unless they were too many. */
  kept: string[] | undefined;
}

export interface Scan {
  store: RollUpStore;
  windowId: string;
  /** Of the write that closed the head: the scan sees everything before it. */
  session: string;
  /** Of one output body. */
  bytesMax: number;
  /** Called after each page: keeps the attempt alive, or throws when it was overtaken. */
  tick(): Promise<void>;
}

export async function readContent(scan: Scan): Promise<Content> {
  let totals: RollUpTotals | undefined;
  const parts: string[] = [];
  let kept: string[] | undefined = [];
  const onContribution = (item: ContributionItem): void => void (totals = addKey(totals, item));
  for await (const part of partsOf(scan, onContribution)) {
    parts.push(hexHash(part));
    if (parts.length > partsKept) kept = undefined;
    kept?.push(part);
  }
  return { totals, parts, kept, digest: hexHash(parts.join('\n')) };
}

/** Each part as the JSON text of its list of contributions. */
export async function* partsOf(
  scan: Scan,
  onContribution: (item: ContributionItem) => void = () => {},
): AsyncGenerator<string> {
  const bytesMax = scan.bytesMax - frameBytes;
  let open: string[] = [];
  let bytes = 0;
  for await (const item of contributionsOf(scan)) {
    onContribution(item);
    const text = textOf(item, bytesMax);
    const size = Buffer.byteLength(text) + 1;
    if (open.length > 0 && bytes + size > bytesMax) {
      yield `[${open.join(',')}]`;
      open = [];
      bytes = 0;
    }
    open.push(text);
    bytes += size;
  }
  if (open.length > 0) yield `[${open.join(',')}]`;
}

async function* contributionsOf(scan: Scan): AsyncGenerator<ContributionItem> {
  const { store, windowId, session } = scan;
  let continuation: string | undefined;
  do {
    const page = await store.listContributions(windowId, {
      session,
      limit: pageItems,
      ...(continuation !== undefined && { continuation }),
    });
    yield* page.items;
    continuation = page.continuation;
    await scan.tick();
  } while (continuation !== undefined);
}

/** A result that no part could hold is left out and said to be. */
function textOf(item: ContributionItem, bytesMax: number): string {
  const { key, revision, count, sum, min, max, first, last, result } = item;
  const plain = { key, revision, count, sum, min, max, first, last };
  if (result === undefined) return JSON.stringify(plain);
  const whole = JSON.stringify({ ...plain, result });
  if (Buffer.byteLength(whole) + 2 <= bytesMax) return whole;
  return JSON.stringify({ ...plain, resultTooLarge: true });
}

/** CONTRACT §3: the body of `window.rolledUp`. */
export function rollUpBody(
  head: RollUpItem,
  content: Content,
  part: { index: number; text: string },
): string {
  const frame = JSON.stringify({
    convoy: head.convoy,
    window: head.window,
    start: isoInstant(head.start),
    end: isoInstant(head.end),
    ...content.totals,
    parts: content.parts.length,
    part: part.index,
    revision: head.revision,
    final: true,
  });
  return `${frame.slice(0, -1)},"contributions":${part.text}}`;
}
