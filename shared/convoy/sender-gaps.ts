// PURE. Holes in the sender's own numbering of one key, over messages in any order.

export interface SenderGap {
  from: number;
  to: number;
  /** The message after the hole. */
  position: number;
  messageId: string;
}

interface Run {
  start: number;
  end: number;
  position: number;
  messageId: string;
}

const runsMax = 50_000;
const gapsMax = 100;

/** The runs that the numbers form; as many as there are holes, plus one. */
export class SenderGaps {
  readonly #byStart = new Map<number, Run>();
  readonly #byEnd = new Map<number, Run>();

  /** A number that is inside a run already is a duplicate and says nothing. */
  add(senderPosition: number, message: { position: number; messageId: string }): void {
    const { position, messageId } = message;
    const isFull = this.#byStart.size >= runsMax;
    if (isFull || this.#byStart.has(senderPosition) || this.#byEnd.has(senderPosition)) return;
    const left = this.#byEnd.get(senderPosition - 1);
    const right = this.#byStart.get(senderPosition + 1);
    const run: Run = {
      start: left?.start ?? senderPosition,
      end: right?.end ?? senderPosition,
      position: left?.position ?? position,
      messageId: left?.messageId ?? messageId,
    };
    if (left) this.#byEnd.delete(left.end);
    if (right) this.#byStart.delete(right.start);
    this.#byStart.set(run.start, run);
    this.#byEnd.set(run.end, run);
  }

  /** The first 100, ascending; what is before the first kept number is not known. */
  gaps(): SenderGap[] {
    const runs = [...this.#byStart.values()].sort((a, b) => a.start - b.start);
    const gaps: SenderGap[] = [];
    let end = runs[0]?.end ?? 0;
    for (const run of runs.slice(1)) {
      if (run.start > end + 1 && gaps.length < gapsMax) {
        const { position, messageId } = run;
        gaps.push({ from: end + 1, to: run.start - 1, position, messageId });
      }
      end = Math.max(end, run.end);
    }
    return gaps;
  }
}
