// Cases that once came out differently from the fold, each with what was wrong then.
import { type Case, type DefinitionSpec, type MessageSpec, type Step } from './cases.ts';
import { plainSpec, plainWindow } from './cases.ts';

export const message = (at: number, more: Partial<MessageSpec> = {}): MessageSpec => ({
  ...{ key: 0, kind: 'plain', at, sp: 0, version: 1, again: 0 },
  ...more,
});

export const send = (...messages: MessageSpec[]): Step => ({ step: 'send', messages });

export const story = (spec: Partial<DefinitionSpec>, ...steps: Step[]): Case => ({
  spec: { ...plainSpec, ...spec },
  tick: 1,
  steps,
});

const sender = (at: number, sp: number, more: Partial<MessageSpec> = {}): MessageSpec =>
  message(at, { sp, ...more });

const act = (choice: number): Step => ({ step: 'act', choice });
const silence: Step = { step: 'silence' };

export const regressions: Record<string, Case> = {
  'a new key of a later version had its initial state migrated': story(
    { version: 2 },
    send(message(0)),
  ),
  'a gap behind a message with an effect was never judged': story(
    { order: 'sender', gapContinues: true, hasEffect: true },
    send(sender(0, 2), sender(4, 4)),
    silence,
  ),
  'outputs that settle out of line were published by position': story(
    { order: 'sender' },
    send(sender(0, 2, { kind: 'many' }), sender(0, 1)),
  ),
  'a replayed message that blocks the key could not be set aside': story(
    {},
    send(message(0, { version: 2 }), message(4)),
    act(1),
    act(0),
    act(2),
  ),
  'skipping a gap replayed what was parked': story(
    { order: 'sender', onPoison: 'park' },
    send(sender(4, 1, { version: 2 }), sender(8, 4)),
    silence,
    act(2),
    act(0),
  ),
  'late next: a hopping window counted the message once for each that had closed': story(
    { windows: [{ ...plainWindow, kind: 'hopping', late: 'next' }] },
    send(message(40), message(0)),
  ),
  'a bad value passed where the message came late': story(
    { windows: [{ ...plainWindow, late: 'drop' }] },
    send(message(30), message(0, { kind: 'badValue' })),
  ),
  'sessions that a late message joined stayed two': story(
    { windows: [{ ...plainWindow, kind: 'session' }] },
    send(message(0), message(15), message(60), message(8)),
    silence,
  ),
  'after a silence an event joined no session that had closed by it': story(
    { windows: [{ ...plainWindow, kind: 'session', reduces: true }] },
    send(message(0)),
    silence,
    send(message(9), message(18)),
    silence,
  ),
};
