// What the receivers of a queue may see, said without any knowledge of how the broker works: each
// session in the order of sending, at least once, never with two holders.

type State =
  { kind: 'waiting' } | { kind: 'held'; holder: string } | { kind: 'aside' } | { kind: 'done' };

export class OrderFault extends Error {}

export class OrderOracle {
  /** By session, in the order of sending. */
  private readonly sessions = new Map<string, { number: number; state: State }[]>();
  private readonly holders = new Map<string, string>();

  private of(session: string) {
    let messages = this.sessions.get(session);
    if (!messages) this.sessions.set(session, (messages = []));
    return messages;
  }

  private find(session: string, number: number) {
    const found = this.of(session).find((message) => message.number === number);
    if (!found) throw new OrderFault(`${session}/${number} was never sent`);
    return found;
  }

  sent(session: string, number: number): void {
    this.of(session).push({ number, state: { kind: 'waiting' } });
  }

  accepted(session: string, holder: string): void {
    const other = this.holders.get(session);
    if (other !== undefined) throw new OrderFault(`${session} is ${other}'s, not ${holder}'s`);
    this.holders.set(session, holder);
  }

  holderOf(session: string): string {
    return this.holders.get(session) ?? 'nobody';
  }

  /** The holder left or lost its lock: what it held waits again. */
  released(session: string): void {
    this.holders.delete(session);
    for (const message of this.of(session)) {
      if (message.state.kind === 'held') message.state = { kind: 'waiting' };
    }
  }

  /** The broker died: no holders, and settlements that were not answered may be undone. */
  crashed(): void {
    this.holders.clear();
    for (const [session, messages] of this.sessions) {
      this.released(session);
      for (const message of messages) {
        if (message.state.kind === 'aside') message.state = { kind: 'waiting' };
      }
    }
  }

  delivered(session: string, number: number, holder: string): void {
    if (this.holders.get(session) !== holder) {
      throw new OrderFault(`${session}/${number} went to ${holder}, who does not hold the session`);
    }
    const message = this.find(session, number);
    if (message.state.kind !== 'waiting') {
      throw new OrderFault(`${session}/${number} was delivered while ${message.state.kind}`);
    }
    for (const earlier of this.of(session)) {
      if (earlier === message) break;
      if (earlier.state.kind === 'waiting') {
        throw new OrderFault(`${session}/${number} overtook ${earlier.number}`);
      }
    }
    message.state = { kind: 'held', holder };
  }

  abandoned(session: string, number: number): void {
    this.find(session, number).state = { kind: 'waiting' };
  }

  /** Settled, but not answered yet. */
  setAside(session: string, number: number): void {
    this.find(session, number).state = { kind: 'aside' };
  }

  done(session: string, number: number): void {
    this.find(session, number).state = { kind: 'done' };
  }

  /** What must still be delivered. */
  open(): { session: string; number: number }[] {
    return [...this.sessions].flatMap(([session, messages]) =>
      messages
        .filter(({ state }) => state.kind === 'waiting' || state.kind === 'held')
        .map(({ number }) => ({ session, number })),
    );
  }
}
