// What goes wrong in this host and a person reads: one class, so that a fault is told from a bug.

/** A fault of the app's settings or functions, or a feature that is refused by name. */
export class HostFault extends Error {
  override name = 'HostFault';
}

/** Refuses a feature of the real host by its name. */
export function unsupported(what: string): HostFault {
  return new HostFault(`${what} is not supported by the local host`);
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
