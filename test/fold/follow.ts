// One case through the real engine, step by step beside the reference; compared whenever everything
// has come to rest.
import { type Case, Senders, definitionOf, refEffect, silenceMs } from './cases.ts';
import { differences, factsOfFold } from './facts.ts';
import { Fold } from './reference.ts';
import { actions, may } from './reference-types.ts';
import type { Feed, Trial } from './plans.ts';
import { World } from './world.ts';

export interface Followed {
  /** Empty = the engine is the fold. */
  wrong: string[];
  calls: number;
  happened: string[];
}

export async function follow(given: Case, trial: Trial): Promise<Followed> {
  const run = new Run(given, trial);
  try {
    await run.all();
  } catch (error) {
    run.wrong.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
  const { calls, happened, observer } = run.world;
  return { wrong: [...run.wrong, ...observer.wrong], calls, happened };
}

class Run {
  readonly wrong: string[] = [];
  readonly world: World;
  readonly #given: Case;
  readonly #feed: Feed;
  readonly #senders: Senders;
  readonly #surroundings = { isMended: false };
  readonly #folds = new Map<string, Fold>();
  #version: number;
  #definition;
  #sequence = 0;

  constructor(given: Case, { plan, feed }: Trial) {
    this.#given = given;
    this.#feed = feed;
    this.#senders = new Senders(given);
    this.#version = given.spec.version;
    this.#definition = definitionOf(given, this.#version, this.#surroundings);
    this.world = new World(plan, this.#definition, given.spec.parkedMax);
    this.world.observer.mayForget = given.spec.keepsShort;
  }

  async all(): Promise<void> {
    for (const [i, step] of this.#given.steps.entries()) {
      await this.#step(step);
      await this.#compare(`step ${i + 1} (${step.step})`);
      if (this.wrong.length > 0) return;
    }
  }

  async #step(step: Case['steps'][number]): Promise<void> {
    switch (step.step) {
      case 'send':
        return this.#send(step.messages);
      case 'act':
        for (const [key, fold] of this.#folds) await this.#act(key, fold, step.choice);
        return;
      case 'silence':
        await this.world.silence(silenceMs);
        for (const fold of this.#folds.values()) fold.silence(silenceMs);
        return;
      case 'mend':
        this.#surroundings.isMended = true;
        return;
      case 'deploy':
        this.#version = Math.min(3, this.#version + 1);
        this.#definition = definitionOf(this.#given, this.#version, this.#surroundings);
        for (const fold of this.#folds.values()) fold.definition = this.#definition;
        return this.world.deploy(this.#definition);
    }
  }

  async #act(key: string, fold: Fold, choice: number): Promise<void> {
    const possible = actions.filter((action) => may(fold, action));
    const action = possible[choice % possible.length];
    if (action === undefined) return;
    await this.world.act(key, action);
    await this.world.rest();
    fold.now = this.world.now;
    fold.act(action);
  }

  async #send(
    messages: Extract<Case['steps'][number], { step: 'send' }>['messages'],
  ): Promise<void> {
    const { world } = this;
    const sent = messages.map((message) => this.#senders.message(message, world.now));
    for (const { key, message } of sent) this.#foldOf(key).send(message);
    for (let from = 0; from < sent.length;) {
      const chunk = this.#feed.chunk();
      const some = sent.slice(from, chunk === 0 ? undefined : from + chunk);
      from += some.length;
      const feeding = () => this.#deliver(some);
      if (chunk === 0) void feeding();
      else await world.whileAsleep(feeding);
      await world.rest();
    }
    for (const fold of this.#folds.values()) {
      fold.now = world.now;
      fold.run();
    }
  }

  #foldOf(key: string): Fold {
    const known = this.#folds.get(key);
    if (known) return known;
    const effect = refEffect(this.#surroundings);
    const { parkedMax } = this.#given.spec;
    const fold = new Fold({
      definition: this.#definition,
      key,
      now: this.world.now,
      effect,
      parkedMax,
    });
    this.#folds.set(key, fold);
    return fold;
  }

  /** Each key is a session of its own. */
  async #deliver(sent: readonly { key: string; message: Parameters<World['deliver']>[1] }[]) {
    const keys = [...new Set(sent.map(({ key }) => key))];
    await Promise.all(
      keys.map(async (key) => {
        for (const one of sent.filter((other) => other.key === key)) {
          this.#sequence += 1;
          await this.world.deliver(key, one.message, this.#sequence);
        }
      }),
    );
  }

  async #compare(at: string): Promise<void> {
    for (const [key, fold] of this.#folds) {
      const found = await this.world.observer.facts(this.#definition, key);
      if (found === undefined) this.wrong.push(`${at} ${key}: the engine knows no such key`);
      else {
        const different = differences(factsOfFold(fold), found);
        this.wrong.push(...different.map((one) => `${at} ${key} ${one}`));
      }
    }
  }
}
