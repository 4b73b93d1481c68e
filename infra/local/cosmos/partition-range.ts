// PURE. Partition key ranges: a container is spread over as many as its throughput asked for when
// it was created, equal parts of the space of effective keys. Here all of them are in one file; the
// ranges only decide what a request that names one is about.

import { CosmosError } from './errors.ts';
import { isObject, type Json } from './json.ts';
import { effectiveKeyV1, numberKey } from './partition-hash-v1.ts';
import { effectiveKeyV2 } from './partition-hash-v2.ts';
import { header, type Request } from './request.ts';
import type { Container } from './storage.ts';

export interface KeyRange {
  id: string;
  /** Inclusive. */
  min: string;
  /** Exclusive. */
  max: string;
}

const spaceEnd = 'FF';
const cachedMax = 50_000;

// A definition that names no version means 1; hierarchical keys exist in version 2 only.
function isFirstVersion({ definition }: Container): boolean {
  const key = definition['partitionKey'];
  return isObject(key) && key['kind'] === 'Hash' && key['version'] !== 2;
}

/** Where a share of the keys, from 0 to 1, ends. */
function boundAt(share: number, isFirst: boolean): string {
  if (isFirst) return numberKey(Math.floor(2 ** 32 * share));
  // Effective keys of version 2 begin with two zero bits.
  const bound = Math.floor(2 ** 30 * share);
  return bound.toString(16).toUpperCase().padStart(8, '0');
}

/** The ranges of a container. */
export function rangesOf(container: Container): KeyRange[] {
  const { rangeCount } = container;
  const isFirst = isFirstVersion(container);
  return Array.from({ length: rangeCount }, (_, at) => ({
    id: String(at),
    min: at === 0 ? '' : boundAt(at / rangeCount, isFirst),
    max: at === rangeCount - 1 ? spaceEnd : boundAt((at + 1) / rangeCount, isFirst),
  }));
}

/** The effective key of a partition key, or of a prefix of a hierarchical one. */
export function effectiveKey(container: Container, values: readonly Json[]): string {
  return isFirstVersion(container) ? effectiveKeyV1(values[0] ?? {}) : effectiveKeyV2(values);
}

function named(request: Request, container: Container): KeyRange | undefined {
  const text = header(request, 'x-ms-documentdb-partitionkeyrangeid');
  if (text === undefined) return undefined;
  // Some clients write `collection,range`.
  const id = text.split(',').at(-1)?.trim();
  const range = rangesOf(container).find((one) => one.id === id);
  if (range) return range;
  throw new CosmosError(410, `The partition key range ${text.slice(0, 40)} is gone.`, {
    substatus: 1002,
  });
}

/**
 * Which partition keys (their JSON text) a request is about, when it names a range or a part of
 * one; undefined = all. Throws 410 when there is no such range.
 */
export function keyFilter(
  request: Request,
  container: Container,
): ((pk: string) => boolean) | undefined {
  const range = named(request, container);
  const start = header(request, 'x-ms-start-epk');
  const end = header(request, 'x-ms-end-epk');
  const min = [range?.min ?? '', start ?? ''].toSorted().at(-1) ?? '';
  const max = [range?.max ?? spaceEnd, end ?? spaceEnd].toSorted()[0] ?? spaceEnd;
  if (min === '' && max === spaceEnd) return undefined;
  return (pk) => {
    const key = effectiveKeyOf(container, pk);
    return key >= min && key < max;
  };
}

const known = new Map<string, string>();

function effectiveKeyOf(container: Container, pk: string): string {
  const name = `${isFirstVersion(container)}${pk}`;
  let key = known.get(name);
  if (key === undefined) {
    key = effectiveKey(container, JSON.parse(pk) as Json[]);
    if (known.size >= cachedMax) known.clear();
    known.set(name, key);
  }
  return key;
}
