// The states that were seen: each a run of small integers in one arena, found by hash. A state of a
// scope has 20 to 40 of them; a Map of strings would need five times the memory.
export class Visited {
  #arena = new Int32Array(1 << 20);
  #starts = new Int32Array(1 << 16);
  #table = new Int32Array(1 << 18).fill(-1);
  #used = 0;
  size = 0;

  /** The index of the state; `isNew` when it was not seen before. */
  add(state: readonly number[]): { index: number; isNew: boolean } {
    const mask = this.#table.length - 1;
    let slot = hashOf(state) & mask;
    for (;;) {
      const index = this.#table[slot] ?? -1;
      if (index < 0) break;
      if (this.#equals(index, state)) return { index, isNew: false };
      slot = (slot + 1) & mask;
    }
    const index = this.#append(state);
    this.#table[slot] = index;
    if (this.size * 2 > this.#table.length) this.#rehash();
    return { index, isNew: true };
  }

  get(index: number): Int32Array {
    return this.#arena.subarray(this.#starts[index], this.#starts[index + 1]);
  }

  #equals(index: number, state: readonly number[]): boolean {
    const from = this.#starts[index] ?? 0;
    const length = (this.#starts[index + 1] ?? 0) - from;
    if (length !== state.length) return false;
    for (let i = 0; i < length; i += 1) if (this.#arena[from + i] !== state[i]) return false;
    return true;
  }

  #append(state: readonly number[]): number {
    if (this.#used + state.length > this.#arena.length) this.#arena = doubled(this.#arena);
    if (this.size + 2 > this.#starts.length) this.#starts = doubled(this.#starts);
    this.#arena.set(state, this.#used);
    this.#used += state.length;
    this.size += 1;
    this.#starts[this.size] = this.#used;
    return this.size - 1;
  }

  #rehash(): void {
    const table = new Int32Array(this.#table.length * 2).fill(-1);
    const mask = table.length - 1;
    for (let index = 0; index < this.size; index += 1) {
      let slot = hashOf(this.get(index)) & mask;
      while ((table[slot] ?? -1) >= 0) slot = (slot + 1) & mask;
      table[slot] = index;
    }
    this.#table = table;
  }
}

/** Grows by doubling. */
export function doubled(array: Int32Array): Int32Array<ArrayBuffer> {
  const grown = new Int32Array(array.length * 2);
  grown.set(array);
  return grown;
}

function hashOf(state: ArrayLike<number>): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < state.length; i += 1) {
    hash = Math.imul(hash ^ (state[i] ?? 0), 0x01000193);
    hash ^= hash >>> 15;
  }
  hash = Math.imul(hash ^ (hash >>> 13), 0x5bd1e995);
  return (hash ^ (hash >>> 16)) & 0x7fffffff;
}
