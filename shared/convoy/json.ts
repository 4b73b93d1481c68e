// PURE. What user code returned, made safe to keep: as JSON text that the store takes, or refused
// by an error that says what is wrong with it; and any thrown thing as text.
//
// J1  Nothing asynchronous gets in: a promise would be stored as `{}`, and its rejection, met by
//     nobody, would end the process.
// J2  Nothing gets in that the store refuses for its nesting: the commit would fail for ever.

/** Azure Cosmos DB stores 128 levels; a state stands one below the top of its item, a window's
 *  result three. */
export const stateLevelsMax = 120;
/** No message that is meant nests deeper; and handlers, schemas and writers of JSON recurse. */
export const bodyLevelsMax = 128;
const reasonLengthMax = 1024;

/** Whether a valid JSON text nests deeper than so many levels. Linear in the text. */
export function isNestedDeeper(text: string, levels: number): boolean {
  if (text.length <= 2 * levels) return false;
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    switch (text.charCodeAt(at)) {
      case 0x22: // "
        at = endOfText(text, at);
        break;
      case 0x5b: // [
      case 0x7b: // {
        depth += 1;
        if (depth > levels) return true;
        break;
      case 0x5d: // ]
      case 0x7d: // }
        depth -= 1;
        break;
    }
  }
  return false;
}

/** The quote that closes the text which opens at `from`. */
function endOfText(text: string, from: number): number {
  for (let at = from + 1; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === 0x22) return at;
    if (code === 0x5c) at += 1; // backslash
  }
  return text.length;
}

/** The value itself, unless it is a promise: then TypeError [J1]. `what` names who returned it. */
export function synchronous<Value>(value: Value, what: string): Value {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return value;
  const { then } = value as { then?: unknown };
  if (typeof then !== 'function') return value;
  const ignore = (): void => {};
  then.call(value, ignore, ignore); // its rejection is answered for by the TypeError
  throw new TypeError(`${what} is asynchronous; it must return its value at once`);
}

/** The JSON text of what user code returned. Throws TypeError for what JSON cannot carry [J1, J2],
 *  RangeError for what is too deep. */
export function jsonTextOf(value: unknown, what: string): string {
  synchronous(value, what);
  const isLost =
    value instanceof Map ||
    value instanceof Set ||
    (typeof value === 'number' && !Number.isFinite(value));
  const text = isLost ? undefined : (JSON.stringify(value) as string | undefined);
  if (text === undefined) throw new TypeError(`${what} returned no JSON value`);
  if (isNestedDeeper(text, stateLevelsMax)) {
    throw new RangeError(`${what} nests deeper than ${stateLevelsMax} levels, the store's limit`);
  }
  return text;
}

/** The text of anything thrown, without stack. Never throws itself. */
export function reasonOf(error: unknown): string {
  try {
    const text: unknown = error instanceof Error ? error.message : error;
    return typeof text === 'string' ? text : String(text);
  } catch {
    return 'something was thrown that has no text';
  }
}

/** A reason as it is stored: bounded, and well-formed Unicode also where it is cut. */
export function clipped(reason: string): string {
  return reason.slice(0, reasonLengthMax).toWellFormed();
}
