// The code under test: the real engine as it stands, or a copy of the compiled one with rules
// broken in its text. A patch that does not apply exactly once is an error: a mutant that no longer
// breaks anything must not pass for one that was caught.
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { convoy } from '../../functions/convoy.ts';
import { defineConvoy } from '../../shared/convoy/definition.ts';
import { assertHandoff } from '../../shared/convoy/handoff.ts';
import { defaultLimits } from '../../shared/convoy/outputs.ts';
import { drain } from '../../shared/engine/drain.ts';
import { admitFitting } from '../../shared/engine/intake.ts';
import { operate } from '../../shared/engine/operate.ts';
import { persist } from '../../shared/engine/patience.ts';
import { sweep } from '../../shared/engine/sweep.ts';
import { instanceIdOf } from '../../shared/keys.ts';
import { StoreUnavailable } from '../../shared/store/store.ts';

/** Everything of the engine that the model runs; the rest of it comes along by import. */
export interface Code {
  convoy: typeof convoy;
  defineConvoy: typeof defineConvoy;
  drain: typeof drain;
  admitFitting: typeof admitFitting;
  operate: typeof operate;
  persist: typeof persist;
  sweep: typeof sweep;
  instanceIdOf: typeof instanceIdOf;
  StoreUnavailable: typeof StoreUnavailable;
}

export const realCode: Code = {
  convoy,
  defineConvoy,
  drain,
  admitFitting,
  operate,
  persist,
  sweep,
  instanceIdOf,
  StoreUnavailable,
};

/** The rules themselves are always the real ones. */
export { assertHandoff, defaultLimits };

/** One change of the compiled text; `file` from `dist/`. */
export interface Patch {
  file: string;
  find: string;
  replace: string;
}

export class PatchDoesNotApply extends Error {}

/** Imports a patched copy of `dist/`, which must be built. The copy is gone when this resolves. */
export async function patchedCode(patches: readonly Patch[]): Promise<Code> {
  const here = fileURLToPath(new URL('.', import.meta.url));
  const root = here.includes(`${join('dist', 'test')}`)
    ? join(here, '../../..')
    : join(here, '../..');
  const scratch = mkdtempSync(join(tmpdir(), 'convoy-model-'));
  // Under such a name a test runner takes the files as they are.
  const folder = join(scratch, 'node_modules/convoy');
  mkdirSync(folder, { recursive: true });
  try {
    for (const part of ['shared', 'functions'])
      cpSync(join(root, 'dist', part), join(folder, part), {
        recursive: true,
        filter: (path) => !path.endsWith('.map') && !path.includes('convoys'),
      });
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
    for (const patch of patches) applyPatch(folder, patch);
    resolvePackages(folder);
    return await importCode(folder);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function applyPatch(folder: string, { file, find, replace }: Patch): void {
  const path = join(folder, file);
  const text = readFileSync(path, 'utf8');
  const found = text.split(find).length - 1;
  if (found !== 1) throw new PatchDoesNotApply(`${found} places in ${file} read: ${find}`);
  writeFileSync(
    path,
    text.replace(find, () => replace),
  );
}

/** The copy lies outside the project: packages are imported by where they are. */
function resolvePackages(folder: string): void {
  const { resolve } = createRequire(import.meta.url);
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.js')) continue;
    const path = join(folder, name);
    const text = readFileSync(path, 'utf8');
    const located = text.replaceAll(
      /( from |import )'((?!node:)[^.'][^']*)'/g,
      (_, before: string, to: string) => `${before}'${pathToFileURL(resolve(to)).href}'`,
    );
    if (located !== text) writeFileSync(path, located);
  }
}

async function importCode(folder: string): Promise<Code> {
  const files = [
    'functions/convoy.js',
    'shared/convoy/definition.js',
    'shared/engine/drain.js',
    'shared/engine/intake.js',
    'shared/engine/operate.js',
    'shared/engine/patience.js',
    'shared/engine/sweep.js',
    'shared/keys.js',
    'shared/store/store.js',
  ];
  const url = (file: string): string => pathToFileURL(join(folder, file)).href;
  const modules = await Promise.all(files.map((file) => import(/* @vite-ignore */ url(file))));
  // Its own modules again, by name: a copy has the types of the original.
  return { ...realCode, ...pick(Object.assign({}, ...modules)) };
}

function pick(all: Record<string, unknown>): Partial<Code> {
  return Object.fromEntries(Object.keys(realCode).map((name) => [name, all[name]]));
}
