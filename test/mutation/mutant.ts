// A mutant: one rule of DESIGN §4 broken on purpose, as edits of the compiled code.
import { readFileSync } from 'node:fs';

/** Of the compiled code; `find` stands in the file exactly once. */
export interface Edit {
  /** From `dist/`, for instance `shared/engine/commit.js`. */
  file: string;
  find: string;
  replace: string;
}

export interface Mutant {
  /** `H1` to `H13`. */
  rule: string;
  /** What is broken; unique within the rule. */
  name: string;
  edits: Edit[];
  /** A name of scenarios/list.ts. */
  scenario: string;
  /** The scenario finds it within so many seeds, counted from 1. */
  seedsMax: number;
}

/** Broken code that nobody can tell from the right one, and why. */
export interface Equivalent extends Omit<Mutant, 'seedsMax'> {
  why: string;
}

/** The compiled files, whether this file is one of them or its source. */
export const distUrl = new URL(
  import.meta.url.includes('/dist/') ? '../../' : '../../dist/',
  import.meta.url,
);

export class MutantStale extends Error {}

/** Throws MutantStale when an edit does not apply exactly once. */
export function applyEdits(source: string, edits: readonly Edit[]): string {
  return edits.reduce((text, { file, find, replace }) => {
    const times = text.split(find).length - 1;
    if (times !== 1) throw new MutantStale(`${file} holds ${JSON.stringify(find)} ${times} times`);
    return text.replace(find, () => replace);
  }, source);
}

/** Throws MutantStale unless every edit applies to what `tsc` made. */
export function assertApplies({ edits }: Pick<Mutant, 'edits'>, dist: URL): void {
  for (const file of new Set(edits.map((edit) => edit.file))) {
    const source = readFileSync(new URL(file, dist), 'utf8');
    applyEdits(
      source,
      edits.filter((edit) => edit.file === file),
    );
  }
}
