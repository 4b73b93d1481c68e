// The steps of the broker before which a test, or the fault port, may wait or fail.

/** A step of the broker before which a test may wait or fail. */
export interface BrokerStep {
  kind: 'send' | 'deliver' | 'settle' | 'accept' | 'renew' | 'manage';
  queue: string;
  sessionId?: string;
  messageId?: string;
}

/** Named points where a test may wait or fail: awaited before the step is made. */
export interface BrokerIntercept {
  beforeStep?(step: BrokerStep): Promise<void> | void;
}
