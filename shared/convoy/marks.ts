// PURE. Marks: the watermark as it was at a few instants of the past. They tell whether a window
// that cannot be found may have been forgotten, or certainly never was.
import type { SettleInput } from './draft.ts';
import type { Mark, Progress } from './state.ts';
import { type Span, isClosed } from './window.ts';
import type { CheckedWindow } from './window-definition.ts';

/** Whether the window may have closed, and expired, longer ago than windows are kept. Certain that
 *  it has not while the watermark of that time, or any later one, had not passed it. */
export function isForgotten(input: SettleInput, window: CheckedWindow, span: Span): boolean {
  const { progress, definition, tools } = input;
  const keptFrom = tools.now - definition.retentionSeconds * 1000;
  const mark = progress.marks.find(({ at }) => at >= keptFrom);
  return isClosed(window, span.end, mark === undefined ? progress.watermark : mark.watermark);
}

const marksMax = 8;

/** Notes the watermark as it was before this commit, a few times per retention. */
export function withMark(input: SettleInput, progress: Progress): Mark[] {
  const { now } = input.tools;
  const retentionMs = input.definition.retentionSeconds * 1000;
  if (input.definition.windows.length === 0) return progress.marks;
  const kept = progress.marks.filter(({ at }) => at >= now - retentionMs);
  const last = progress.marks.at(-1);
  if (last !== undefined && now - last.at < retentionMs / (marksMax - 2)) return kept;
  return [...kept, { at: now, watermark: progress.watermark }].slice(-marksMax);
}
