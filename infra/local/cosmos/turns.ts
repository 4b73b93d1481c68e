// Fair turns for work that takes milliseconds: many such requests that
// arrive together do not run in one go, so point operations get in between.

const turnMs = 8;

export class Turns {
  readonly #waiting: (() => void)[] = [];
  #until = 0;
  #isArmed = false;

  /** Resolves when the caller may work; at once while the event loop's turn is young. */
  next(): Promise<void> | undefined {
    if (this.#waiting.length === 0) {
      if (!this.#isArmed) this.#arm();
      if (performance.now() < this.#until) return undefined;
    }
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (!this.#isArmed) this.#arm();
    });
  }

  #arm(): void {
    this.#isArmed = true;
    this.#until = performance.now() + turnMs;
    setImmediate(() => {
      this.#isArmed = false;
      const next = this.#waiting.shift();
      if (next || this.#waiting.length > 0) this.#arm();
      next?.();
    });
  }
}
