// What the senders of a history send.

export interface SimulatedMessage {
  /** '' = it comes without a usable key and ends in quarantine. */
  key: string;
  /** The sender's business id. */
  id: string;
  type: string;
  /** The body as it is sent: JSON text, unless it is meant to be refused. */
  text: string;
  schemaVersion?: number;
  senderPosition?: number;
  /** Epoch milliseconds; default: when it was enqueued. */
  occurredAt?: number;
  /** Virtual milliseconds after the start. */
  sendAt: number;
  /** How it must settle when nobody decides otherwise; default: any outcome is right. */
  expect?: 'applied' | 'rejected' | 'invalid';
}

/** One copy of a message on the queue. */
export interface SentMessage {
  key: string;
  message: SimulatedMessage;
}

/** The session of what comes without a key: the host makes a number of it, which is no key. */
export const keylessSession = '42';
