// The board's script, first half, sent to the browser as text: elements, calls of the API, cells.
//
// B1. Nothing of an answer becomes markup: only `h` makes elements, and it sets text, never HTML.
// B2. The host key lives in the tab's session storage and travels in a header, never in a URL.
export const boardParts = String.raw`
'use strict';
const base = location.pathname.replace(/\/board\/?$/, '');
const keySlot = 'convoy.hostKey';
const refreshMs = 3000;
const $ = (id) => document.getElementById(id);

function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null) element.setAttribute(name, String(value));
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

class Refusal extends Error {
  constructor(status, problem) {
    super(problem.detail || 'The service answered ' + status + '.');
    this.status = status;
  }
}

async function api(path, options) {
  const headers = { accept: 'application/json' };
  const key = sessionStorage.getItem(keySlot);
  if (key) headers['x-functions-key'] = key;
  if (options && options.body) headers['content-type'] = 'application/json';
  const response = await fetch(base + path, { ...options, headers, cache: 'no-store' });
  const text = await response.text();
  let answer = {};
  try {
    answer = text ? JSON.parse(text) : {};
  } catch {
    answer = { detail: text.slice(0, 200) };
  }
  if (!response.ok && !(path === '/health' && answer.dependencies))
    throw new Refusal(response.status, answer);
  return answer;
}

const tones = {
  active: 'well',
  idle: 'calm',
  held: 'stop',
  applied: 'well',
  rejected: 'wait',
  waiting: 'calm',
  invalid: 'stop',
  skipped: 'wait',
  parked: 'wait',
  deadLettered: 'stop',
  open: 'well',
  closed: 'calm',
  retrying: 'wait',
  publishing: 'wait',
  blocked: 'stop',
  paused: 'wait',
  hot: 'wait',
  throttled: 'wait',
};
const mark = (word) => h('span', { class: 'mark ' + (tones[word] || 'calm') }, word);
const count = (n) =>
  typeof n === 'number' ? n.toLocaleString('en') : n === null || n === undefined ? '–' : n;
const instant = (text) =>
  text
    ? h('time', { datetime: text, title: text }, text.replace('T', ' ').replace('Z', ''))
    : '–';
function age(seconds) {
  if (seconds === null || seconds === undefined) return '–';
  for (const [unit, size] of [
    ['d', 86400],
    ['h', 3600],
    ['min', 60],
  ]) {
    if (seconds >= 2 * size) return Math.floor(seconds / size) + ' ' + unit;
  }
  return seconds + ' s';
}
const ago = (text) =>
  h(
    'time',
    { datetime: text, title: text },
    age(Math.max(0, Math.round((Date.now() - Date.parse(text)) / 1000))) + ' ago',
  );
const brief = (value) => {
  const text = JSON.stringify(value);
  return text.length > 160 ? text.slice(0, 160) + ' …' : text;
};

function table(columns, items, nothing) {
  if (items.length === 0) return h('div', { class: 'sheet empty' }, nothing);
  return h(
    'div',
    { class: 'sheet' },
    h(
      'table',
      {},
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          columns.map((c) => h('th', { class: c.kind, scope: 'col' }, c.title)),
        ),
      ),
      h(
        'tbody',
        {},
        items.map((item) =>
          h(
            'tr',
            {},
            columns.map((c) => h('td', { class: c.kind }, c.cell(item))),
          ),
        ),
      ),
    ),
  );
}

const detailHref = (item) => '#/' + item.convoy + '/' + item.pathKey;
const listColumns = [
  {
    title: 'Key',
    kind: 'wide',
    cell: (i) => h('a', { href: detailHref(i), 'data-focus': detailHref(i) }, i.key),
  },
  { title: 'Convoy', cell: (i) => i.convoy },
  { title: 'Phase', cell: (i) => (i.hot ? [mark(i.phase), ' ', hotMark(i.hot)] : mark(i.phase)) },
  { title: 'Backlog', kind: 'n', cell: (i) => count(i.backlog) },
  { title: 'Head waits', kind: 'n', cell: (i) => age(i.headAgeSeconds) },
  { title: 'Parked', kind: 'n', cell: (i) => (i.parked ? count(i.parked) : '–') },
  { title: 'Hold', kind: 'why', cell: (i) => holdCell(i.hold) },
  { title: 'Settled to', kind: 'n', cell: (i) => count(i.cursor) + ' / ' + count(i.tail) },
  { title: 'Changed', cell: (i) => ago(i.updatedAt) },
];
const hotMark = (hot) =>
  h('span', { class: 'mark wait', title: hot.advice }, 'hot ' + hot.messagesPerSecond + '/s');
const holdCell = (hold) =>
  hold.kind === 'none'
    ? h('span', { class: 'calm' }, '–')
    : [
        mark(hold.kind),
        ' ',
        h('div', { class: 'small' }, [hold.code, hold.reason].filter(Boolean).join(': ')),
      ];
const laneColumns = [
  {
    title: 'Lane',
    kind: 'wide',
    cell: (l) => h('a', { href: detailHref(l), 'data-focus': detailHref(l) }, l.key),
  },
  {
    title: 'Phase',
    cell: (l) => [mark(l.phase), l.retired ? h('span', { class: 'small' }, ' retired') : null],
  },
  { title: 'Backlog', kind: 'n', cell: (l) => count(l.backlog) },
  { title: 'Parked', kind: 'n', cell: (l) => (l.parked ? count(l.parked) : '–') },
  { title: 'Hold', kind: 'why', cell: (l) => holdCell(l.hold) },
  { title: 'Settled to', kind: 'n', cell: (l) => count(l.cursor) + ' / ' + count(l.tail) },
];
const messageColumns = [
  { title: 'Position', kind: 'n', cell: (m) => count(m.position) },
  { title: 'Message', kind: 'wide', cell: (m) => m.messageId },
  { title: 'Type', cell: (m) => m.type },
  {
    title: 'Outcome',
    kind: 'why',
    cell: (m) => [
      mark(m.outcome),
      m.code || m.reason
        ? h('div', { class: 'small' }, [m.code, m.reason].filter(Boolean).join(': '))
        : null,
    ],
  },
  { title: 'Happened', cell: (m) => instant(m.occurredAt) },
  { title: 'Body', kind: 'wide', cell: (m) => h('code', {}, brief(m.body)) },
];
const windowColumns = [
  { title: 'Window', cell: (w) => w.window },
  { title: 'From', cell: (w) => instant(w.start) },
  { title: 'To', cell: (w) => instant(w.end) },
  {
    title: 'State',
    cell: (w) => [
      mark(w.state),
      w.revision > 0 ? h('span', { class: 'small' }, ' revision ' + w.revision) : null,
    ],
  },
  ...['count', 'sum', 'min', 'max', 'first', 'last'].map((name) => ({
    title: name,
    kind: 'n',
    cell: (w) => count(w[name]),
  })),
];
`;
