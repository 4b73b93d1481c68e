// The board's script, sent to the browser as text: fetches the API, writes answers as text nodes.
//
// B1. Nothing of an answer becomes markup: only `h` makes elements, and it sets text, never HTML.
// B2. The host key lives in the tab's session storage and travels in a header, never in a URL.
// B3. Refreshing stops while the page is hidden, an action is being written or a page was added.
export const boardScript = String.raw`
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
  try { answer = text ? JSON.parse(text) : {}; } catch { answer = { detail: text.slice(0, 200) }; }
  if (!response.ok && !(path === '/health' && answer.dependencies)) throw new Refusal(response.status, answer);
  return answer;
}

const tones = {
  active: 'well', idle: 'calm', held: 'stop', applied: 'well', rejected: 'wait', waiting: 'calm',
  invalid: 'stop', skipped: 'wait', parked: 'wait', deadLettered: 'stop', open: 'well', closed: 'calm',
  retrying: 'wait', publishing: 'wait', blocked: 'stop', paused: 'wait',
};
const mark = (word) => h('span', { class: 'mark ' + (tones[word] || 'calm') }, word);
const count = (n) => (typeof n === 'number' ? n.toLocaleString('en') : n === null || n === undefined ? '–' : n);
const instant = (text) => (text ? h('time', { datetime: text, title: text }, text.replace('T', ' ').replace('Z', '')) : '–');
function age(seconds) {
  if (seconds === null || seconds === undefined) return '–';
  for (const [unit, size] of [['d', 86400], ['h', 3600], ['min', 60]]) {
    if (seconds >= 2 * size) return Math.floor(seconds / size) + ' ' + unit;
  }
  return seconds + ' s';
}
const ago = (text) => h('time', { datetime: text, title: text }, age(Math.max(0, Math.round((Date.now() - Date.parse(text)) / 1000))) + ' ago');
const brief = (value) => { const text = JSON.stringify(value); return text.length > 160 ? text.slice(0, 160) + ' …' : text; };

function table(columns, items, nothing) {
  if (items.length === 0) return h('div', { class: 'sheet empty' }, nothing);
  return h('div', { class: 'sheet' }, h('table', {},
    h('thead', {}, h('tr', {}, columns.map((c) => h('th', { class: c.kind, scope: 'col' }, c.title)))),
    h('tbody', {}, items.map((item) => h('tr', {}, columns.map((c) => h('td', { class: c.kind }, c.cell(item))))))));
}

const detailHref = (item) => '#/' + item.convoy + '/' + item.pathKey;
const listColumns = [
  { title: 'Key', kind: 'wide', cell: (i) => h('a', { href: detailHref(i), 'data-focus': detailHref(i) }, i.key) },
  { title: 'Convoy', cell: (i) => i.convoy },
  { title: 'Phase', cell: (i) => mark(i.phase) },
  { title: 'Backlog', kind: 'n', cell: (i) => count(i.backlog) },
  { title: 'Head waits', kind: 'n', cell: (i) => age(i.headAgeSeconds) },
  { title: 'Hold', kind: 'why', cell: (i) => holdCell(i.hold) },
  { title: 'Settled to', kind: 'n', cell: (i) => count(i.cursor) + ' / ' + count(i.tail) },
  { title: 'Changed', cell: (i) => ago(i.updatedAt) },
];
const holdCell = (hold) => hold.kind === 'none' ? h('span', { class: 'calm' }, '–')
  : [mark(hold.kind), ' ', h('div', { class: 'small' }, [hold.code, hold.reason].filter(Boolean).join(': '))];
const messageColumns = [
  { title: 'Position', kind: 'n', cell: (m) => count(m.position) },
  { title: 'Message', kind: 'wide', cell: (m) => m.messageId },
  { title: 'Type', cell: (m) => m.type },
  { title: 'Outcome', kind: 'why', cell: (m) => [mark(m.outcome), m.code || m.reason ? h('div', { class: 'small' }, [m.code, m.reason].filter(Boolean).join(': ')) : null] },
  { title: 'Happened', cell: (m) => instant(m.occurredAt) },
  { title: 'Body', kind: 'wide', cell: (m) => h('code', {}, brief(m.body)) },
];
const windowColumns = [
  { title: 'Window', cell: (w) => w.window },
  { title: 'From', cell: (w) => instant(w.start) },
  { title: 'To', cell: (w) => instant(w.end) },
  { title: 'State', cell: (w) => [mark(w.state), w.revision > 0 ? h('span', { class: 'small' }, ' revision ' + w.revision) : null] },
  ...['count', 'sum', 'min', 'max', 'first', 'last'].map((name) => (
    { title: name, kind: 'n', cell: (w) => count(w[name]) })),
];

let view = { kind: '', extra: false };
let round = 0;
let timer = 0;

async function gather(path, pages) {
  const items = [];
  let token;
  for (let page = 0; page < pages; page++) {
    const at = path + (path.includes('?') ? '&' : '?') + 'limit=100' + (token ? '&continuation=' + encodeURIComponent(token) : '');
    const answer = await api(at);
    items.push(...answer.items);
    token = answer.continuation;
    if (!token) break;
  }
  return { items, more: Boolean(token) };
}

/** Replaces what changed; keeps the keyboard where it was. */
function show(id, answer, make) {
  const place = $(id);
  const now = JSON.stringify(answer);
  if (place.dataset.shown === now && id !== 'list') return;
  const focus = document.activeElement && document.activeElement.dataset.focus;
  place.dataset.shown = now;
  place.replaceChildren(...[make()].flat());
  if (focus) for (const one of place.querySelectorAll('[data-focus]')) if (one.dataset.focus === focus) one.focus();
}

function listQuery() {
  const form = new FormData($('filters'));
  const query = new URLSearchParams();
  for (const [name, value] of form) if (String(value).trim()) query.set(name, String(value).trim());
  return query.toString();
}

const moreButton = (more, add) => more ? h('p', { class: 'more' }, h('button', { type: 'button', 'data-focus': 'more', onclick: add }, 'Show more')) : null;

async function drawList() {
  const query = listQuery();
  const answer = await gather('/convoys' + (query ? '?' + query : ''), view.pages);
  show('list', answer, () => [
    table(listColumns, answer.items, query ? 'No key matches these filters.' : 'No message has been admitted yet.'),
    moreButton(answer.more, () => { view.pages++; draw(); }) || '',
  ]);
}

async function drawDetail() {
  const path = '/convoys/' + view.convoy + '/' + view.pathKey;
  const detail = await api(path);
  const outcome = $('outcome').value;
  const [messages, windows] = await Promise.all([
    gather(path + '/messages' + (outcome ? '?outcome=' + outcome : ''), view.pages),
    gather(path + '/windows', view.pages),
  ]);
  view.detail = detail;
  show('facts', { ...detail, at: 0 }, () => factsOf(detail));
  show('messages', messages, () => [
    table(messageColumns, messages.items, 'No such message.'),
    moreButton(messages.more, () => { view.pages++; draw(); }) || '',
  ]);
  show('windows', windows, () => [table(windowColumns, windows.items, 'This convoy keeps no windows.')]);
}

function factsOf(d) {
  const hold = d.hold;
  const fact = (name, value) => h('div', {}, h('dt', {}, name), h('dd', {}, value));
  const counts = Object.entries(d.counts || {}).filter(([, n]) => n > 0).map(([name, n]) => name + ' ' + count(n)).join(' · ');
  return [
    h('div', { class: 'head' }, h('h2', {}, d.key), h('span', { class: 'calm' }, d.convoy), mark(d.phase),
      h('span', { class: 'acts' }, ['pause', 'resume', 'retry', 'skip'].map((action) => h('button', {
        type: 'button', 'data-focus': action, onclick: () => ask(action, d) }, action)))),
    hold.kind === 'none' ? '' : h('div', { class: 'hold ' + (tones[hold.kind] || '') },
      h('p', {}, mark(hold.kind), hold.position ? ' at position ' + hold.position : '', hold.attempts ? ', attempt ' + hold.attempts : '', hold.code ? ' · ' + hold.code : ''),
      hold.reason ? h('p', {}, hold.reason) : null,
      hold.remedy ? h('p', { class: 'small' }, 'Remedy: ' + hold.remedy) : null,
      hold.nextAttemptAt ? h('p', { class: 'small' }, 'Next attempt ', instant(hold.nextAttemptAt)) : null),
    h('dl', {}, fact('Backlog', count(d.backlog)), fact('Head waits', age(d.headAgeSeconds)),
      fact('Settled to', count(d.cursor) + ' of ' + count(d.tail)), fact('Epoch', count(d.epoch)),
      fact('Outcomes', counts || '–'), fact('Repeats', count(d.repeats)), fact('Dead-lettered', count(d.deadLettered)),
      fact('Changed', instant(d.updatedAt)), fact('Next due', instant(d.dueAt)), fact('Instance', h('code', {}, d.instanceId || '–'))),
    h('h2', {}, 'State'), h('div', { class: 'sheet' }, h('pre', { tabindex: '0' }, JSON.stringify(d.state, null, 2))),
  ];
}

function ask(action, detail) {
  $('ask-title').textContent = action + ' ' + detail.key;
  $('ask-error').textContent = '';
  $('ask').returnValue = '';
  $('ask').showModal();
  $('ask-form').onsubmit = async (event) => {
    event.preventDefault();
    const form = new FormData($('ask-form'));
    const body = { reason: form.get('reason'), expectedCursor: detail.cursor };
    if (form.get('by')) body.by = form.get('by');
    try {
      await api('/convoys/' + detail.convoy + '/' + detail.pathKey + '/' + action, { method: 'POST', body: JSON.stringify(body) });
      $('ask-form').reset();
      $('ask').close();
    } catch (error) { $('ask-error').textContent = error.message; }
    draw();
  };
}

async function drawFigures() {
  const [stats, health] = await Promise.all([api('/stats'), api('/health')]);
  const figure = (name, value) => h('span', {}, h('b', {}, count(value)), ' ' + name);
  const failing = health.dependencies.filter((d) => d.status !== 'ok').map((d) => d.name);
  show('figures', [stats.convoys, stats.messages, stats.holds, failing], () => [
    figure('keys', stats.convoys), figure('admitted', stats.messages.admitted), figure('waiting', stats.messages.waiting),
    figure('blocked', stats.holds.blocked || 0),
    failing.length ? h('span', { class: 'mark stop' }, failing.join(', ') + ' failing') : h('span', { class: 'mark well' }, 'all services answer'),
  ]);
}

function route() {
  const found = /^#\/([^/]+)\/([^/]+)$/.exec(location.hash);
  view = found ? { kind: 'detail', convoy: found[1], pathKey: found[2], pages: 1 } : { kind: 'list', pages: 1 };
  $('list-view').hidden = view.kind !== 'list';
  $('detail-view').hidden = view.kind !== 'detail';
  for (const id of ['facts', 'messages', 'windows']) { $(id).replaceChildren(); delete $(id).dataset.shown; }
  round = 0;
  draw();
}

let drawing = false;
async function draw() {
  clearTimeout(timer);
  if (drawing) { timer = setTimeout(draw, 200); return; }
  drawing = true;
  try {
    if (round++ % 5 === 0) await drawFigures();
    await (view.kind === 'detail' ? drawDetail() : drawList());
    $('notice').hidden = true;
    $('pulse').textContent = 'as of ' + new Date().toLocaleTimeString();
  } catch (error) {
    if (error.status === 401) $('key-form').hidden = false;
    $('notice').hidden = false;
    $('notice').textContent = error.status === 401
      ? 'The service asks for a host key (Azure portal: App keys, host keys).'
      : error.message;
    round = 0;
  } finally {
    drawing = false;
    if (!document.hidden && !$('ask').open) timer = setTimeout(draw, refreshMs);
  }
}

document.addEventListener('visibilitychange', () => (document.hidden ? clearTimeout(timer) : draw()));
window.addEventListener('hashchange', route);
$('ask').addEventListener('close', draw);
$('ask-cancel').addEventListener('click', () => $('ask').close());
$('filters').addEventListener('input', () => { view.pages = 1; clearTimeout(timer); timer = setTimeout(draw, 250); });
$('filters').addEventListener('submit', (event) => { event.preventDefault(); draw(); });
$('outcome').addEventListener('change', () => { view.pages = 1; draw(); });
$('key-form').addEventListener('submit', (event) => {
  event.preventDefault();
  sessionStorage.setItem(keySlot, $('host-key').value);
  $('host-key').value = '';
  $('key-form').hidden = true;
  draw();
});
route();
`;
