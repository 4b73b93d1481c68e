// PURE. The XML of ATOM entries: elements, attributes and text, nothing else. Document types,
// processing instructions and CDATA are refused: no client sends them, and entities that expand
// are how XML eats a server.
import { refusals } from './conditions.ts';

export interface XmlElement {
  /** Without its prefix: the clients choose prefixes, the names are the protocol. */
  name: string;
  /** By name without prefix. */
  attributes: ReadonlyMap<string, string>;
  children: XmlElement[];
  /** The text directly inside, untrimmed. */
  text: string;
}

const depthMax = 16;
const elementsMax = 20_000;
const nameSource = '[A-Za-z_][\\w.-]*(?::[A-Za-z_][\\w.-]*)?';
const tagStart = new RegExp(`<(/?)(${nameSource})`, 'y');
const attribute = new RegExp(`\\s+(${nameSource})\\s*=\\s*(?:"([^"<]*)"|'([^'<]*)')`, 'y');
const tagEnd = /\s*(\/?)>/y;
const skipped = /(?:<\?xml[^?]*\?>|<!--(?:(?!-->)[^])*-->)/y;

const named: Record<string, string> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };

/** XML text of a text. By name: the JavaScript client does not read numbered entities. */
export function escapeXml(text: string): string {
  const names = { '<': '&lt;', '>': '&gt;', '&': '&amp;', '"': '&quot;' };
  return text.replace(/[<>&"]/g, (character) => names[character as keyof typeof names]);
}

function unescape(text: string): string {
  return text.replace(/&([^;&]*);/g, (_all, entity: string) => {
    const code = /^#(?:x([0-9a-f]{1,6})|(\d{1,7}))$/i.exec(entity);
    const point = Number.parseInt(code?.[1] ?? code?.[2] ?? '', code?.[1] ? 16 : 10);
    const character = point <= 0x10ffff ? String.fromCodePoint(point) : named[entity];
    if (character === undefined) throw fault(`the entity '${entity}' is unknown`);
    return character;
  });
}

const fault = (detail: string) =>
  refusals.badRequest(`The body is not the XML expected: ${detail}.`);
const localName = (name: string): string => name.slice(name.indexOf(':') + 1);

function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

/** The root element. Throws a Refusal that says what is wrong. */
export function parseXml(text: string): XmlElement {
  const root: XmlElement = { name: '', attributes: new Map(), children: [], text: '' };
  const open = [root];
  let elements = 0;
  for (let at = 0; at < text.length;) {
    const inside = open.at(-1) ?? root;
    if (text[at] !== '<') {
      const next = text.indexOf('<', at);
      const end = next < 0 ? text.length : next;
      inside.text += unescape(text.slice(at, end));
      at = end;
      continue;
    }
    const comment = matchAt(skipped, text, at);
    if (comment) {
      at += comment[0].length;
      continue;
    }
    const start = matchAt(tagStart, text, at);
    if (!start) throw fault(`unexpected '${text.slice(at, at + 12)}'`);
    const { attributes, isClosed, end } = readTag(text, at + start[0].length);
    const name = localName(start[2] ?? '');
    at = end;
    if (start[1] === '/') {
      if (open.length === 1 || inside.name !== name) throw fault(`</${name}> closes nothing`);
      open.pop();
      continue;
    }
    if (++elements > elementsMax || open.length > depthMax) throw fault('it is too large');
    const element: XmlElement = { name, attributes, children: [], text: '' };
    inside.children.push(element);
    if (!isClosed) open.push(element);
  }
  const [first] = root.children;
  if (open.length > 1 || !first || root.children.length > 1) throw fault('there is not one root');
  return first;
}

function readTag(text: string, from: number) {
  const attributes = new Map<string, string>();
  let at = from;
  for (let match = matchAt(attribute, text, at); match; match = matchAt(attribute, text, at)) {
    attributes.set(localName(match[1] ?? ''), unescape(match[2] ?? match[3] ?? ''));
    at += match[0].length;
  }
  const end = matchAt(tagEnd, text, at);
  if (!end) throw fault('a tag is not closed');
  return { attributes, isClosed: end[1] === '/', end: at + end[0].length };
}

/** The first child of a name. */
export function childOf(element: XmlElement | undefined, name: string): XmlElement | undefined {
  return element?.children.find((child) => child.name === name);
}
