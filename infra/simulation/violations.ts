// What an oracle found wrong.

export interface Violation {
  /** File of the oracle. */
  oracle: string;
  /** Rule of the protocol that is broken, such as `H5`; `liveness` where none says it. */
  rule: string;
  message: string;
  key?: string;
  position?: number;
  /** Number of the step at which it was seen. */
  step: number;
}

export type Report = (violation: Omit<Violation, 'step'>) => void;
