// All oracles as one: everything that reaches broker and store passes here once.
import type { OperatorAction } from '../../../shared/engine/operate.ts';
import type { Entry, Holder, Lane, Locked } from '../../local/broker/lane.ts';
import type { Written } from '../cosmos.ts';
import type { SentMessage } from '../messages.ts';
import type { Published } from '../publisher-port.ts';
import { siteOf } from '../sites.ts';
import { AdmissionOracle } from './admission.ts';
import { efficiencyOracle } from './efficiency.ts';
import { handoffOracle } from './handoff.ts';
import type { Applied, Oracle, Scene } from './oracle.ts';
import { OutputsOracle } from './outputs.ts';
import { RestOracle } from './rest.ts';
import { RollUpOracle } from './roll-up.ts';
import { settlementOracle } from './settlement.ts';
import { windowsOracle } from './windows.ts';

export class Oracles {
  readonly #scene: Scene;
  readonly #all: Oracle[];
  readonly #admission: AdmissionOracle;
  readonly #rest: RestOracle;

  constructor(scene: Scene) {
    this.#scene = scene;
    const outputs = new OutputsOracle(scene);
    this.#admission = new AdmissionOracle(scene);
    this.#rest = new RestOracle(scene, outputs);
    this.#all = [
      handoffOracle(scene),
      this.#admission,
      settlementOracle(scene),
      outputs,
      efficiencyOracle(scene),
      this.#rest,
      windowsOracle(scene, outputs, this.#rest),
      new RollUpOracle(scene),
    ];
  }

  /** Keys that something was sent for. */
  get keys(): ReadonlySet<string> {
    return this.#rest.keys;
  }

  written(written: Written, at: number): void {
    const { operations, result, convoyId } = written;
    const site = siteOf(operations);
    const { coverage } = this.#scene;
    if (!result.applied) return coverage.count(`refused:${result.status} ${site}`);
    coverage.count(`write:${site}`);
    let gateAfter: Applied['gateAfter'];
    let progressAfter: Applied['progressAfter'];
    for (const operation of operations) {
      if (!('item' in operation)) continue;
      if (operation.item.kind === 'gate') gateAfter = operation.item;
      else if (operation.item.kind === 'progress') progressAfter = operation.item;
    }
    const key = convoyId.slice(convoyId.indexOf(':') + 1);
    const batch = { ...written, site, key, at, gateAfter, progressAfter };
    for (const oracle of this.#all) oracle.applied?.(batch);
  }

  sent(sent: SentMessage, sequence: number): void {
    for (const oracle of this.#all) oracle.sent?.(sent, sequence);
  }

  accepted(lane: Lane, holder: Holder): void {
    for (const oracle of this.#all) oracle.accepted?.(lane, holder);
  }

  lost(lane: Lane, holder: Holder): void {
    for (const oracle of this.#all) oracle.lost?.(lane, holder);
  }

  delivered(sent: SentMessage, entry: Entry): void {
    for (const oracle of this.#all) oracle.delivered?.(sent, entry);
  }

  settled(locked: Locked, holder: Holder): void {
    for (const oracle of this.#all) oracle.settled?.(locked, holder);
  }

  decided(key: string, action: OperatorAction, position: number | undefined): void {
    for (const oracle of this.#all) oracle.decided?.(key, action, position);
  }

  rescued(messageId: string, key: string): void {
    for (const oracle of this.#all) oracle.rescued?.(messageId, key);
  }

  /** The broker gave up on a message. */
  dead({ key, message }: SentMessage): void {
    this.#admission.dead(key, message.id);
  }

  published(message: Published, isNew: boolean): void {
    for (const oracle of this.#all) oracle.published?.(message, isNew);
  }

  atEnd(): void {
    for (const oracle of this.#all) oracle.atEnd?.();
  }
}
