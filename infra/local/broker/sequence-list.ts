// PURE. Sequence numbers in rising order, eight bytes each: what a queue remembers of a message
// that waits. Consumed from the front, mostly appended at the end, now and then used in between.

/** Short enough that an insertion in between is cheap, long enough that few chunks are searched. */
const chunkMax = 512;

export class SequenceList {
  /** None of them empty; each rises, and every number of one is below those of the next. */
  private chunks: number[][] = [];
  private count = 0;

  get length(): number {
    return this.count;
  }

  first(): number | undefined {
    return this.chunks[0]?.[0];
  }

  has(sequence: number): boolean {
    const chunk = this.chunks[this.chunkOf(sequence)];
    return chunk !== undefined && chunk[placeIn(chunk, sequence)] === sequence;
  }

  /** Adds a number that is not in the list yet. */
  insert(sequence: number): void {
    const at = this.chunkOf(sequence);
    const chunk = this.chunks[at] ?? this.lastWithRoom();
    this.count++;
    if (!chunk) {
      // A literal takes what it needs; a push to an empty array makes room for seventeen.
      if (at === 0) this.chunks = [[sequence]];
      else this.chunks.push([sequence]);
      return;
    }
    const place = placeIn(chunk, sequence);
    if (place === chunk.length) chunk.push(sequence);
    else chunk.splice(place, 0, sequence);
    if (chunk.length <= chunkMax) return;
    this.chunks.splice(at, 1, chunk.slice(0, chunkMax / 2), chunk.slice(chunkMax / 2));
  }

  /** False when it was not there. */
  remove(sequence: number): boolean {
    const at = this.chunkOf(sequence);
    const chunk = this.chunks[at];
    if (!chunk) return false;
    const place = placeIn(chunk, sequence);
    if (chunk[place] !== sequence) return false;
    this.count--;
    if (place === 0) chunk.shift();
    else chunk.splice(place, 1);
    if (chunk.length > 0) return true;
    if (at === 0) this.chunks.shift();
    else this.chunks.splice(at, 1);
    return true;
  }

  /** The numbers that are not below `from`, in order. */
  *since(from: number): Generator<number> {
    for (let at = this.chunkOf(from); at < this.chunks.length; at++) {
      for (const sequence of this.chunks[at] ?? []) if (sequence >= from) yield sequence;
    }
  }

  [Symbol.iterator](): Generator<number> {
    return this.since(-Infinity);
  }

  /** The first chunk that ends at or behind a number; the count of chunks when there is none. */
  private chunkOf(sequence: number): number {
    let low = 0;
    let high = this.chunks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.chunks[middle]?.at(-1) ?? Infinity) < sequence) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private lastWithRoom(): number[] | undefined {
    const last = this.chunks.at(-1);
    return last && last.length < chunkMax ? last : undefined;
  }
}

/** The first index of a chunk whose number is not lower. */
function placeIn(chunk: readonly number[], sequence: number): number {
  let low = 0;
  let high = chunk.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((chunk[middle] ?? Infinity) < sequence) low = middle + 1;
    else high = middle;
  }
  return low;
}
