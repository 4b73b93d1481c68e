// The SASL mechanisms we offer [SB 2.1, 2.2]: ANONYMOUS (JavaScript) and MSSBCBS (.NET) prove
// nothing, the token on $cbs does; PLAIN (generic AMQP clients) proves the key at once.
import type { SaslMechanism } from './rhea-seam.ts';

/** Mechanism factories by name, in rhea's shape. */
export function mechanisms(key: string): Record<string, () => SaslMechanism> {
  const anonymous = (): SaslMechanism => ({
    start() {
      this.outcome = true;
      this.username = 'anonymous';
    },
  });
  const plain = (): SaslMechanism => ({
    start(response) {
      const [, user, password] = (response?.toString('utf8') ?? '').split('\0');
      this.outcome = password === key;
      this.isAuthorized = this.outcome;
      this.username = user ?? '';
    },
  });
  return { ANONYMOUS: anonymous, PLAIN: plain, MSSBCBS: anonymous };
}
