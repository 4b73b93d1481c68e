// Disks that fail, by means of the operating system: the servers know nothing of it.
//
// `full`:       a small tmpfs and a file that takes all its room [ENOSPC, SQLITE_FULL].
// `unwritable`: the size limit of a process set to nothing: each write of it fails, reads go on
//               [EFBIG, SQLITE_IOERR]. Needs no rights.
// `read-only`:  the folder mounted over itself, read-only, for whoever opens a file from now on.
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Deed } from './mishaps.ts';

const tmpfsMib = 128;
const chunk = Buffer.alloc(1 << 20);

export interface Disk extends Disposable {
  readonly path: string;
  /** Takes all the room. */
  fill(): void;
  /** Gives it back. */
  empty(): void;
  /** What opens a file below the folder cannot write it until the returned is called. */
  makeReadOnly(folder: string): () => void;
}

function canRun(command: string, args: readonly string[]): boolean {
  try {
    execFileSync(command, [...args], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** What this machine, and this user, can do to a disk. */
export function possibleDeeds(): Deed[] {
  const probe = mkdtempSync(join(tmpdir(), 'convoy-mount-'));
  const canMount = canRun('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', probe]);
  if (canMount) execFileSync('umount', [probe]);
  rmSync(probe, { recursive: true });
  const canLimit = canRun('prlimit', ['--version']);
  return [
    ...(canMount ? (['full', 'read-only'] as const) : []),
    ...(canLimit ? (['unwritable'] as const) : []),
  ];
}

/** A folder on a small disk of its own, where that can be had. */
export function openDisk(mayMount: boolean): Disk {
  const path = mkdtempSync(join(tmpdir(), 'convoy-crash-'));
  if (mayMount) {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${tmpfsMib}m`, 'tmpfs', path]);
  }
  const ballast = join(path, 'ballast');
  const mounts = new Set<string>();
  const unmount = (folder: string): void => {
    // Lazily: what has opened a file below it may live on for a moment.
    if (mounts.delete(folder)) execFileSync('umount', ['-l', folder]);
  };
  const remove = (): void => {
    for (const folder of mounts) unmount(folder);
    if (mayMount) execFileSync('umount', ['-l', path]);
    rmSync(path, { recursive: true, force: true });
  };
  process.once('exit', remove);
  return {
    path,
    fill: () => void fill(ballast),
    empty: () => rmSync(ballast, { force: true }),
    makeReadOnly(folder) {
      if (mounts.has(folder)) return () => {};
      execFileSync('mount', ['--bind', folder, folder]);
      mounts.add(folder);
      execFileSync('mount', ['-o', 'remount,bind,ro', folder]);
      return () => unmount(folder);
    },
    [Symbol.dispose]() {
      process.off('exit', remove);
      remove();
    },
  };
}

function fill(ballast: string): void {
  const file = openSync(ballast, 'a');
  try {
    // Smaller and smaller pieces: not a page is left.
    for (let bytes = chunk.length; bytes >= 512; bytes >>= 1) writeWhileRoom(file, bytes);
  } finally {
    closeSync(file);
  }
}

function writeWhileRoom(file: number, bytes: number): void {
  try {
    while (writeSync(file, chunk, 0, bytes) === bytes);
  } catch (error) {
    if (Reflect.get(Object(error), 'code') !== 'ENOSPC') throw error;
  }
}

/** Lets a process write no file any more, or everything again; false when it has ended. */
export function limitWrites(pid: number, isLimited: boolean): boolean {
  // The hard limit stays, so that the soft one can be lifted again.
  return canRun('prlimit', ['--pid', String(pid), `--fsize=${isLimited ? '0' : 'unlimited'}:`]);
}
