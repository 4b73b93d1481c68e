// runConvoy, with which users test their definitions, says what the pure fold of the definition
// says, however the messages are cut into commits.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { runConvoy } from '../../shared/run-convoy.ts';
import { caseArbitrary, definitionOf, refEffect, Senders, startMs, type Case } from './cases.ts';
import { differences, factsOfFold, factsOfRun } from './facts.ts';
import { Fold } from './reference.ts';

const cases = Number(process.env['CASES'] ?? 1000);

/** The messages of one key up to the first other step. */
function compare(given: Case, perCommit: number): string[] {
  const world = { isMended: false };
  const definition = definitionOf(given, given.spec.version, world);
  const options = { definition, key: 'k0', now: startMs, effect: refEffect(world) };
  const fold = new Fold({ ...options, parkedMax: given.spec.parkedMax });
  const senders = new Senders(given);
  const sent = given.steps.flatMap((step) => (step.step === 'send' ? step.messages : []));
  const messages = sent
    .filter(({ kind }) => !['notJson', 'effectHangs'].includes(kind))
    .map((one) => senders.message({ ...one, key: 0 }, startMs).message);
  for (const message of messages) fold.send(message);
  fold.run();
  const attempts = new Map<string, number>();
  const run = runConvoy(
    definition,
    messages.map((m) => ({
      id: m.messageId,
      type: m.type,
      body: JSON.parse(m.bodyText ?? '{}') as unknown,
      occurredAt: m.occurredAt,
      schemaVersion: m.schemaVersion,
      ...(m.senderPosition !== undefined && { senderPosition: m.senderPosition }),
    })),
    {
      key: 'k0',
      now: startMs,
      perCommit,
      limits: { parkedMax: given.spec.parkedMax },
      effect(message) {
        const attempt = (attempts.get(message.id) ?? 0) + 1;
        attempts.set(message.id, attempt);
        const effect = refEffect(world)(message, attempt);
        if (effect?.kind === 'failed') throw new Error(effect.code);
        return effect?.result;
      },
    },
  );
  const expected = factsOfFold(fold);
  const causeOf = ({ position, type }: { position: number; type: string }, i: number): string =>
    expected.outputs[i]?.cause ?? `${position} ${type}`;
  let i = 0;
  return differences(
    expected,
    factsOfRun(definition, run, (output) => causeOf(output, i++)),
  );
}

test(`${cases} cases`, { timeout: 600_000 }, () => {
  fc.assert(
    fc.property(caseArbitrary, fc.integer({ min: 1, max: 42 }), (given, perCommit) => {
      const wrong = compare(given, perCommit);
      if (wrong.length > 0) throw new Error(`${wrong.join('\n')}\n${JSON.stringify(given)}`);
    }),
    { numRuns: cases, ...(process.env['SEED'] && { seed: Number(process.env['SEED']) }) },
  );
  expect(true).toBe(true);
});
