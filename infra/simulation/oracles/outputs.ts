// H11: what is committed is published, all of it, in the order of settlement; a repeat has the same
// message id and the same content.
import type { Output } from '../../../shared/convoy/state.ts';
import type { Published } from '../publisher-port.ts';
import type { Applied, Oracle, Scene } from './oracle.ts';

interface Stream {
  committed: Output[];
  byId: Map<string, Output>;
  /** Committed outputs that the queue has, from the first on. */
  published: number;
}

const idOf = ({ position, n }: Output): string => `${position}:${n}`;

export class OutputsOracle implements Oracle {
  readonly #scene: Scene;
  readonly #streams = new Map<string, Stream>();

  constructor(scene: Scene) {
    this.#scene = scene;
  }

  streamOf(key: string): Stream {
    let stream = this.#streams.get(key);
    if (!stream) {
      stream = { committed: [], byId: new Map(), published: 0 };
      this.#streams.set(key, stream);
    }
    return stream;
  }

  applied({ site, key, operations }: Applied): void {
    if (site !== 'commit') return;
    const stream = this.streamOf(key);
    for (const operation of operations) {
      if (operation.kind !== 'create' || operation.item.kind !== 'outbox') continue;
      for (const output of operation.item.outputs) {
        const id = idOf(output);
        if (stream.byId.has(id)) this.#say(key, `output ${id} was committed twice`);
        stream.byId.set(id, output);
        stream.committed.push(output);
      }
    }
  }

  published({ sessionId: key, output, bodyText }: Published, isNew: boolean): void {
    if (output === undefined) return;
    const stream = this.streamOf(key);
    const id = idOf(output);
    const known = stream.byId.get(id);
    if (known === undefined) return this.#say(key, `output ${id} was published uncommitted`);
    const isSame = known.bodyText === bodyText && known.type === output.type;
    if (!isSame || known.causationId !== output.causationId) {
      this.#say(key, `output ${id} was published with another content`);
    }
    const next = stream.committed[stream.published];
    if (next !== undefined && idOf(next) === id) stream.published += 1;
    else if (stream.committed.indexOf(known) >= stream.published) {
      this.#say(key, `output ${id} was published before ${next && idOf(next)}`);
    } else if (isNew) this.#scene.coverage.count('output:repeated');
  }

  atEnd(): void {
    for (const [key, { committed, published }] of this.#streams) {
      const first = committed[published];
      if (first) this.#say(key, `output ${idOf(first)} was never published`);
    }
  }

  #say(key: string, message: string): void {
    this.#scene.report({ oracle: 'outputs', rule: 'H11', message, key });
  }
}
