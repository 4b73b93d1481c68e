// How the command line speaks: one line per error, one exit code per kind of answer.
import { ConvoyError, reasonOf } from '../../shared/errors.ts';
import type { ErrorCode } from '../../shared/errors.ts';

/** CONTRACT §1. */
export const exitCodes = { ok: 0, no: 1, wrongUse: 2, unreachable: 3 } as const;

/** A command line that cannot be understood. */
export class WrongUse extends Error {}

/** The API answered "no": its problem details, said in one line. */
export class Refused extends Error {
  readonly answer: unknown;

  constructor(line: string, answer: unknown) {
    super(line);
    this.answer = answer;
  }
}

const unreachableCodes: readonly ErrorCode[] = ['CVY_UNREACHABLE'];

export function exitCodeOf(error: unknown): number {
  if (error instanceof WrongUse) return exitCodes.wrongUse;
  if (error instanceof ConvoyError && unreachableCodes.includes(error.code)) {
    return exitCodes.unreachable;
  }
  return exitCodes.no;
}

export function printLine(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Progress and notes: never on stdout, so that `--json` stays parseable. */
export function note(line: string): void {
  process.stderr.write(`${line}\n`);
}

export function printJson(value: unknown): void {
  printLine(JSON.stringify(value));
}

/** One line on stderr; with `--json` the same as an object on stdout. */
export function printError(error: unknown, isJson: boolean): void {
  const line = error instanceof Error && !isExpected(error) ? error.stack : reasonOf(error);
  note((line ?? reasonOf(error)).trim());
  if (!isJson) return;
  if (error instanceof Refused && error.answer !== undefined) printJson(error.answer);
  else if (error instanceof ConvoyError) {
    printJson({ code: error.code, detail: error.received, remedy: error.remedy });
  } else printJson({ detail: reasonOf(error) });
}

function isExpected(error: Error): boolean {
  return error instanceof ConvoyError || error instanceof WrongUse || error instanceof Refused;
}

/** Columns as wide as their widest cell; numbers to the right. */
export function aligned(lines: readonly (readonly (string | number)[])[]): string[] {
  const widths: number[] = [];
  for (const cells of lines) {
    cells.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, String(cell).length);
    });
  }
  return lines.map((cells) =>
    cells
      .map((cell, i) => {
        const width = widths[i] ?? 0;
        return typeof cell === 'number' ? String(cell).padStart(width) : cell.padEnd(width);
      })
      .join('  ')
      .trimEnd(),
  );
}
