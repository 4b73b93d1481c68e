// Reads the house's own source as text: TypeScript 7 offers no parser to programs, and the rules
// need no more than comments and strings told apart from code.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface SourceFile {
  /** From the root, with `/`. */
  path: string;
  lines: string[];
  text: string;
  /** The text with comments, strings and regular expressions blanked. */
  code: string;
  /** What it imports: a path from the root, or a package. */
  imports: string[];
}

const root = fileURLToPath(new URL('../../', import.meta.url));
const folders = ['functions', 'shared', 'infra', 'test'];

/** Every TypeScript file of the house; fixtures are apps of somebody else. */
export function sourceFiles(): SourceFile[] {
  return folders
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((name) =>
        posix.join(folder, name.replaceAll('\\', '/')),
      ),
    )
    .filter((path) => path.endsWith('.ts') && !path.includes('/fixtures/'))
    .map((path) => {
      const text = readFileSync(join(root, path), 'utf8');
      return {
        path,
        text,
        lines: text.split('\n'),
        code: codeOf(text),
        imports: importsOf(path, text),
      };
    });
}

export function readText(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

const importPattern = /(?:^|[\s;}])(?:from|import)\s*\(?\s*'([^'\n]+)'/gm;

function importsOf(path: string, text: string): string[] {
  return [...text.matchAll(importPattern)].map(([, to = '']) =>
    to.startsWith('.') ? posix.normalize(posix.join(dirname(path), to)) : to,
  );
}

const blanked = [
  /\/\/[^\n]*|\/\*[^]*?\*\//,
  /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"/,
  // A slash that follows an operator or opens a line begins an expression, not a division.
  /(?<=[=(,:;!&|?{}\n]\s*)\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n])+\/[a-z]*/,
  /`/,
];
const tokens = new RegExp(blanked.map(({ source }) => source).join('|'), 'g');

/** Blanks comments, strings and regular expressions; what stands in `${}` of a template stays. */
export function codeOf(text: string): string {
  let code = '';
  let at = 0;
  for (;;) {
    tokens.lastIndex = at;
    const match = tokens.exec(text);
    if (!match) return code + text.slice(at);
    code += `${text.slice(at, match.index)} `;
    at = match.index + match[0].length;
    if (match[0] !== '`') continue;
    const template = templateFrom(text, at);
    code += `${template.code} `;
    at = template.end;
  }
}

/** From behind the opening backtick to behind the closing one. */
function templateFrom(text: string, from: number): { code: string; end: number } {
  let code = '';
  for (let at = from; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === '`') return { code, end: at + 1 };
    else if (text.startsWith('${', at)) {
      const end = endOfHole(text, at + 2);
      code += ` ${codeOf(text.slice(at + 2, end))} `;
      at = end;
    }
  }
  return { code, end: text.length };
}

/** Where the brace closes that a `${` opened; a template inside the hole is stepped over. */
function endOfHole(text: string, from: number): number {
  let depth = 1;
  for (let at = from; at < text.length; at++) {
    const character = text[at];
    if (character === '`') at = templateFrom(text, at + 1).end - 1;
    else if (character === '{') depth++;
    else if (character === '}' && --depth === 0) return at;
  }
  return text.length;
}

/** The words of all identifiers: `brokerMessageId` gives broker, message, id. */
export function wordsOf(code: string): Set<string> {
  const words = new Set<string>();
  for (const [identifier] of code.matchAll(/[A-Za-z_$][\w$]*/g)) {
    for (const word of identifier.split(/(?<=[a-z0-9])(?=[A-Z])|[_$]+/)) {
      words.add(word.toLowerCase());
    }
  }
  return words;
}
