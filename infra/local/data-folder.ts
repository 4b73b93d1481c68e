// The data folder of a local stack: what lies where, and who may use it.
//
// Owns:   layout, the mark that makes a folder ours, claims (one owner per role), emptying.
// Leaves: the content of each file to the server that writes it.
//
// D1. A claim is a lock of the operating system (through SQLite), so it ends with its process
//     however that ends; a file with a pid alone would outlive a kill -9 or meet a re-used pid.
// D2. Only a folder with our mark, or an empty one, is ever written to or emptied.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { realClock, sleep } from '../../shared/clock.ts';
import type { Clock } from '../../shared/clock.ts';
import { ConvoyError } from '../../shared/errors.ts';

/** Who may own a claim: the launcher, or one of its two processes. */
export type Role = 'stack' | 'cloud' | 'host';

export interface Claim {
  release(): void;
}

interface Owner {
  pid: number;
  /** Started by a launcher: ends by itself soon after the launcher. */
  isLaunched: boolean;
}

/** Where to reach the stack that runs on a folder. */
export interface StackAddress {
  pid: number;
  http?: string;
  serviceBus: string;
  serviceBusManagement: string;
  cosmos: string;
}

const markFile = 'convoy-data.json';
const addressFile = 'stack.json';
const roles: readonly Role[] = ['stack', 'cloud', 'host'];
/** What we put there; nothing else is removed. */
const contents = ['cloud', 'host', 'sample', addressFile, 'locks', markFile];
const orphanEndsWithinMs = 6_000;
const claimPollMs = 100;

/** Creates the folder when absent and marks it as ours; refuses a folder of somebody else. */
export function openDataFolder(folder: string): string {
  const path = resolve(folder);
  assertOurs(path);
  mkdirSync(join(path, 'locks'), { recursive: true });
  const mark = join(path, markFile);
  if (!existsSync(mark)) writeFileSync(mark, '{"madeBy":"convoy","version":1}\n');
  return path;
}

/** The part of the folder that one server owns. */
export function partOf(folder: string, part: 'cloud' | 'host' | 'sample'): string {
  const path = join(folder, part);
  mkdirSync(path, { recursive: true });
  return path;
}

/**
 * Makes this process the owner of a role. The process of a launcher that has just been killed ends
 * within five seconds, so its claim is waited out; any other owner is refused at once.
 */
export async function claim(
  folder: string,
  role: Role,
  { isLaunched = false, clock = realClock }: { isLaunched?: boolean; clock?: Clock } = {},
): Promise<Claim> {
  const giveUpAt = clock.now() + orphanEndsWithinMs;
  const ownerFile = join(folder, 'locks', `${role}.json`);
  for (;;) {
    const lock = tryLock(join(folder, 'locks', `${role}.sqlite`));
    if (lock) {
      const owner: Owner = { pid: process.pid, isLaunched };
      writeFileSync(ownerFile, JSON.stringify(owner));
      return {
        release() {
          rmSync(ownerFile, { force: true });
          lock.close();
        },
      };
    }
    const owner = readJson<Owner>(ownerFile);
    if (owner && !owner.isLaunched) throw inUse(folder, owner);
    if (clock.now() > giveUpAt) throw inUse(folder, owner);
    await sleep(clock, claimPollMs);
  }
}

/** Empties the folder; refuses while somebody uses it or when it is not ours. */
export async function emptyDataFolder(folder: string): Promise<boolean> {
  const path = resolve(folder);
  assertOurs(path);
  if (!existsSync(join(path, markFile))) return false;
  mkdirSync(join(path, 'locks'), { recursive: true });
  const claims: Claim[] = [];
  try {
    for (const role of roles) claims.push(await claim(path, role));
    for (const name of contents.filter((one) => one !== 'locks')) {
      rmSync(join(path, name), { recursive: true, force: true });
    }
  } finally {
    for (const one of claims) one.release();
  }
  rmSync(join(path, 'locks'), { recursive: true, force: true });
  return true;
}

export function writeStackAddress(folder: string, address: StackAddress): void {
  writeFileSync(join(folder, addressFile), JSON.stringify(address, undefined, 1));
}

export function forgetStackAddress(folder: string): void {
  rmSync(join(folder, addressFile), { force: true });
}

/** The stack that last announced itself on this folder; it may have been killed since. */
export function readStackAddress(folder: string): StackAddress | undefined {
  return readJson<StackAddress>(join(resolve(folder), addressFile));
}

/** The number of this run of the sample stream on this folder, 1, 2, 3 …: counted before use. */
export function nextRunNumber(folder: string): number {
  const file = join(partOf(folder, 'sample'), 'runs.json');
  const run = (readJson<{ runs: number }>(file)?.runs ?? 0) + 1;
  writeFileSync(file, JSON.stringify({ runs: run }));
  return run;
}

function assertOurs(path: string): void {
  if (!existsSync(path) || existsSync(join(path, markFile))) return;
  const found = readdirSync(path);
  if (found.length === 0) return;
  throw new ConvoyError(
    'CVY_DATA_FOREIGN',
    `${path} holds ${found.length} things and no ${markFile}`,
  );
}

function tryLock(file: string): DatabaseSync | undefined {
  const database = new DatabaseSync(file, { timeout: 0 });
  try {
    database.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
    return database;
  } catch {
    database.close();
    return undefined;
  }
}

function inUse(folder: string, owner: Owner | undefined): ConvoyError {
  const who = owner ? `process ${owner.pid}` : 'another process';
  return new ConvoyError('CVY_DATA_IN_USE', `${who} uses the data folder ${folder}`);
}

function readJson<T>(file: string): T | undefined {
  try {
    // Written by us a moment ago or by the same version of us: an edge where a cast is honest.
    return JSON.parse(readFileSync(file, 'utf8')) as T;
  } catch {
    return undefined;
  }
}
