// What a listener says when it cannot receive or settle, and how long it waits before it tries on.
//
// F1 A cause is said once until it has passed: a broker that is away fills no log.
// F2 The wait doubles up to a second; what waiting will not mend is tried four times a minute.
import type { ServiceBusReceivedMessage } from '@azure/service-bus';
import type { Say } from './console.ts';

const backOffMsMax = 1_000;
const backOffMsPermanent = 15_000;
export const backOffMsMin = 100;

export interface FaultLog {
  /** Says a new cause once; returns how long to wait before the next try, milliseconds. */
  note(error: unknown): number;
  clear(): void;
}

export function createFaultLog(
  { functionName, say }: { functionName: string; say: Say },
  entity: string,
): FaultLog {
  let said = '';
  let backOffMs = 0;
  return {
    note(error) {
      const { code } = error as { code?: string };
      if (code === 'ServiceTimeout') {
        backOffMs = 0;
        return 0; // no session was free: the normal end of a long poll
      }
      const text = faultText(error);
      const cause = code ?? text;
      if (cause !== said) {
        said = cause;
        const what = `The listener for function 'Functions.${functionName}' on '${entity}'`;
        say('error', `${what} cannot receive and keeps trying: ${text}`); // [F1]
      }
      if (isPermanent(error)) return backOffMsPermanent;
      backOffMs = Math.min(Math.max(backOffMs * 2, backOffMsMin), backOffMsMax);
      return backOffMs; // [F2]
    },
    clear() {
      backOffMs = 0;
      if (said) say('warning', `The listener for 'Functions.${functionName}' receives again.`);
      said = '';
    },
  };
}

export interface Unsettled {
  message: ServiceBusReceivedMessage;
  action: string;
  error: unknown;
}

/** The processor's error line, plus which message it was. */
export function sayUnsettled(
  options: { entity: string; say: Say },
  { message, action, error }: Unsettled,
): void {
  const session = message.sessionId === undefined ? '' : `, SessionId=${message.sessionId}`;
  options.say(
    'warning',
    `Message processing error (Action=${action}, EntityPath=${options.entity}${session}, ` +
      `MessageId=${String(message.messageId)}): ${codeOf(error)}`,
  );
}

/** Code and text of an error of the client. */
export function codeOf(error: unknown): string {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return [code, message].filter((part) => part !== undefined && part !== '').join(': ');
}

/** Without the broker's tracking tail; the client has no text for a connection that goes away. */
function faultText(error: unknown): string {
  const text = codeOf(error).replace(/ ?(TrackingId|SystemTracker|Timestamp):.*$/s, '');
  return text === 'Unknown error encountered.' ? 'the connection was lost' : text;
}

/** Waiting helps little: no such entity, wrong key, wrong kind of entity. */
function isPermanent(error: unknown): boolean {
  const { code, message } = error as { code?: string; message?: string };
  return (
    code === 'MessagingEntityNotFound' ||
    code === 'MessagingEntityDisabled' ||
    code === 'UnauthorizedAccess' ||
    /InvalidOperationError|not-allowed/.test(message ?? '')
  );
}

export function isConnectionFault(error: unknown): boolean {
  const { code, name } = error as { code?: string; name?: string };
  return (
    !isPermanent(error) &&
    name !== 'AbortError' &&
    code !== 'ServiceTimeout' &&
    code !== 'SessionCannotBeLocked'
  );
}
