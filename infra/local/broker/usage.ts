// What Azure would bill: one operation per 64 KB of a message sent or received, one per settlement,
// renewal, accept, empty poll and management request [SB 18.6, 18.8].

const sliceBytes = 64 * 1024;

export interface UsageReport {
  operations: number;
  perEntity: Record<string, number>;
}

export class Usage {
  private operations = 0;
  private readonly perEntity = new Map<string, number>();

  count(path: string, operations = 1): void {
    this.operations += operations;
    this.perEntity.set(path, (this.perEntity.get(path) ?? 0) + operations);
  }

  /** One message on the wire. */
  countMessage(path: string, bytes: number): void {
    this.count(path, Math.max(1, Math.ceil(bytes / sliceBytes)));
  }

  report(): UsageReport {
    return { operations: this.operations, perEntity: Object.fromEntries(this.perEntity) };
  }
}
