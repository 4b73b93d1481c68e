// The output queues of a history, and the seam of one host to them: an order of batches, each taken
// whole or not at all, whose acknowledgement may get lost; duplicate detection is the broker's own.
import type { Output } from '../../shared/convoy/state.ts';
import type { Publisher } from '../../shared/engine/ports.ts';
import type { RollUpPublisher } from '../../shared/engine/roll-up-publish.ts';
import { outputMessageId } from '../../shared/keys.ts';
import type { CallFault, Fault } from './faults.ts';
import type { Owner } from './scheduler.ts';
import { delayMsOf } from './store-port.ts';
import type { World } from './world.ts';

export class BrokerUnavailable extends Error {}

/** One message as it stands on the output queue. */
export interface Published {
  messageId: string;
  /** Key of the convoy, or `<convoy>:<window>` of a roll-up. */
  sessionId: string;
  bodyText: string;
  output?: Output;
  part?: { window: string; revision: number; part: number; parts: number };
}

export type PublisherPort = Publisher & RollUpPublisher;

const kinds: readonly CallFault[] = [
  'publisher.refused',
  'publisher.ambiguous',
  'publisher.partly',
  'publisher.slow',
];

export function createPublisherPort(
  world: Pick<World, 'scheduler' | 'faults' | 'accept'>,
  owner: Owner,
): PublisherPort {
  const { scheduler, faults } = world;
  /** What of it the broker takes before it fails, if it does. */
  const send = (messages: readonly Published[]): Promise<void> =>
    new Promise((resolve, reject) => {
      const take = (fault: Fault | undefined): void => {
        const isPartly = fault?.kind === 'publisher.partly';
        const count = isPartly ? Math.floor(fault.value * messages.length) : messages.length;
        world.accept(messages.slice(0, count));
        if (isPartly || fault?.kind === 'publisher.ambiguous') {
          reject(new BrokerUnavailable('no acknowledgement'));
        } else resolve();
      };
      const go = (): void => {
        const fault = faults.at(kinds);
        if (fault?.kind === 'publisher.refused') return reject(new BrokerUnavailable('refused'));
        if (fault?.kind !== 'publisher.slow') return take(fault);
        scheduler.after(owner, delayMsOf(fault), () => take(fault));
      };
      scheduler.park({ owner, label: 'publisher.send', go });
    });
  return {
    publish: (convoy, key, outputs) =>
      send(
        outputs.map((output) => ({
          messageId: outputMessageId(convoy, key, output),
          sessionId: key,
          bodyText: output.bodyText,
          output,
        })),
      ),
    publishPart: (convoy, { messageId, bodyText, ...part }) =>
      send([{ messageId, sessionId: `${convoy}:${part.window}`, bodyText, part }]),
  };
}
