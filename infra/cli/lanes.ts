// `convoy lanes`: how the keys of a convoy are split, as senders are told.
import type { Command } from 'commander';
import { type ApiFlags, apiFlags, callApi, isRecord } from './api.ts';
import { aligned, exitCodes, printJson, printLine } from './output.ts';
import type { Global } from './serve.ts';

type Flags = ApiFlags & Global;

export function addLanesCommand(program: Command, ended: (code: number) => void): void {
  apiFlags(program.command('lanes'))
    .description('show how the keys of a convoy are split into lanes')
    .argument('<convoy>')
    .action(async (convoy: string, _, command: Command) => {
      const flags = command.optsWithGlobals<Flags>();
      const path = `/api/lanes/${encodeURIComponent(convoy)}`;
      const answer = await callApi(flags, { method: 'GET', path });
      if (flags.json) printJson(answer);
      else for (const line of listed(answer)) printLine(line);
      ended(exitCodes.ok);
    });
}

function listed(answer: unknown): string[] {
  if (!isRecord(answer)) return [];
  const keys = isRecord(answer['keys']) ? Object.entries(answer['keys']) : [];
  const lists: [key: string, generations: unknown][] = [['(every key)', answer['all']], ...keys];
  const lines = lists.flatMap(([key, generations]) =>
    (Array.isArray(generations) ? generations : []).map((generation: unknown, i) =>
      cellsOf(key, i + 1, isRecord(generation) ? generation : {}),
    ),
  );
  if (lines.length === 0) return ['no key is split'];
  return aligned([['KEY', 'GENERATION', 'LANES', 'QUEUE', 'ANNOUNCED', 'OPENS'], ...lines]);
}

function cellsOf(key: string, number: number, generation: Record<string, unknown>): string[] {
  const shown = ['count', 'queue', 'announcedAt', 'opensAt'].map((field) => {
    const value = generation[field];
    return typeof value === 'string' || typeof value === 'number' ? String(value) : '-';
  });
  return [key, String(number), ...shown];
}
