// Errors of the hub itself (not of the app it runs).

export type HubFaultCode = 'HUB_FILE' | 'HUB_PROTOCOL' | 'HUB_VERSION';

export interface HubFault extends Error {
  code: HubFaultCode;
}

export function hubFault(code: HubFaultCode, text: string, options?: ErrorOptions): HubFault {
  return Object.assign(new Error(`${code}: ${text}`, options), { code });
}

/** The text of anything thrown. */
export function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
