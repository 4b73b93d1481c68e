// What a process and its files weigh, seen from outside, and what it says of itself.
import { existsSync, readFileSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { InnerGauge } from './preload.ts';

export interface ProcessGauge {
  rssBytes: number;
  handles: number;
  sockets: number;
  inner: InnerGauge | undefined;
}

/** Nothing when it has ended, or where there is no /proc. */
export function gaugeOf(pid: number, folder: string): ProcessGauge | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const rssKib = Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]);
    const fd = `/proc/${pid}/fd`;
    const handles = readdirSync(fd);
    const isSocket = (name: string): boolean => readlinkSync(join(fd, name)).startsWith('socket:');
    return {
      rssBytes: rssKib * 1024,
      handles: handles.length,
      sockets: handles.filter(isSocket).length,
      inner: innerOf(join(folder, `${pid}.ndjson`)),
    };
  } catch {
    return undefined;
  }
}

function innerOf(file: string): InnerGauge | undefined {
  if (!existsSync(file)) return undefined;
  const line = readFileSync(file, 'utf8').trimEnd().split('\n').at(-1);
  return line === undefined || line === '' ? undefined : (JSON.parse(line) as InnerGauge);
}

export interface FileGauge {
  bytes: number;
  walBytes: number;
}

export function fileGauge(file: string): FileGauge {
  const size = (name: string): number => (existsSync(name) ? statSync(name).size : 0);
  return { bytes: size(file), walBytes: size(`${file}-wal`) };
}
