// JSON files as Newtonsoft reads them, and their sections.
import { readFileSync } from 'node:fs';
import { HostFault } from './faults.ts';

export type Json = Record<string, unknown>;

/** JSON as Newtonsoft reads it: comments and trailing commas are tolerated. */
export function parseJsonFile(path: string): Json {
  const string = String.raw`"(?:\\.|[^"\\])*"`;
  const comment = new RegExp(String.raw`(${string})|\/\/[^\n]*|\/\*[\s\S]*?\*\/`, 'g');
  const comma = new RegExp(String.raw`(${string})|,(?=\s*[}\]])`, 'g');
  const text = readFileSync(path, 'utf8').replace(/^\uFEFF/, '');
  try {
    return JSON.parse(text.replace(comment, '$1').replace(comma, '$1')) as Json;
  } catch (cause) {
    throw new HostFault(`Unable to parse host configuration file '${path}'.`, { cause });
  }
}

export function section(from: Json, key: string): Json {
  const value = from[key];
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Json)
    : {};
}
