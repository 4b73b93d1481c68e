// What a scenario is: a seed in, what is wrong out.

export interface Violation {
  /** Which observer saw it: `order`, `once`, `lost` … */
  oracle: string;
  /** The rule that is broken, where the observer knows it. */
  rule?: string;
  message: string;
}

export type Scenario = (seed: number) => Promise<Violation[]>;
