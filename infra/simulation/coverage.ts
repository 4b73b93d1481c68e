// What histories have met: fault kinds, states and transitions of the protocol, refused writes, the
// places of crashes. Names are `<subject>:<detail>`.

export class Coverage {
  readonly counts = new Map<string, number>();

  count(name: string): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
  }

  add(other: ReadonlyMap<string, number>): void {
    for (const [name, n] of other) this.counts.set(name, (this.counts.get(name) ?? 0) + n);
  }
}
