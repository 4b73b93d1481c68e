// The board's script, second half: the list, the detail, the actions and when to ask again.
//
// B3. Refreshing stops while the page is hidden or an action is being written.
// B4. What did not change is not replaced, and the focus stays where the keyboard put it.
import { boardParts } from './page-parts.ts';

export const boardScript = String.raw`${boardParts}
let view = { kind: '', extra: false };
let round = 0;
let timer = 0;

async function gather(path, pages) {
  const items = [];
  let token;
  for (let page = 0; page < pages; page++) {
    const at =
      path +
      (path.includes('?') ? '&' : '?') +
      'limit=100' +
      (token ? '&continuation=' + encodeURIComponent(token) : '');
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
  if (focus)
    for (const one of place.querySelectorAll('[data-focus]'))
      if (one.dataset.focus === focus) one.focus();
}

function listQuery() {
  const form = new FormData($('filters'));
  const query = new URLSearchParams();
  for (const [name, value] of form)
    if (String(value).trim()) query.set(name, String(value).trim());
  return query.toString();
}

const moreButton = (more, add) =>
  more
    ? h(
        'p',
        { class: 'more' },
        h('button', { type: 'button', 'data-focus': 'more', onclick: add }, 'Show more'),
      )
    : null;

async function drawList() {
  const query = listQuery();
  const answer = await gather('/convoys' + (query ? '?' + query : ''), view.pages);
  show('list', answer, () => [
    table(
      listColumns,
      answer.items,
      query ? 'No key matches these filters.' : 'No message has been admitted yet.',
    ),
    moreButton(answer.more, () => {
      view.pages++;
      draw();
    }) || '',
  ]);
}

async function drawDetail() {
  const path = '/convoys/' + view.convoy + '/' + view.pathKey;
  const detail = await api(path);
  const outcome = $('outcome').value;
  const none = { items: [], more: false };
  const isSplit = detail.lanes.length > 0;
  const [messages, windows] = isSplit ? [none, none] : await Promise.all([
    gather(path + '/messages' + (outcome ? '?outcome=' + outcome : ''), view.pages),
    gather(path + '/windows', view.pages),
  ]);
  view.detail = detail;
  show('facts', { ...detail, at: 0 }, () => factsOf(detail));
  show('messages', messages, () => [
    table(
      messageColumns,
      messages.items,
      isSplit ? 'The messages of a split key are shown lane by lane.' : 'No such message.',
    ),
    moreButton(messages.more, () => {
      view.pages++;
      draw();
    }) || '',
  ]);
  show('windows', windows, () => [
    table(windowColumns, windows.items, 'This convoy keeps no windows.'),
  ]);
}

/** What the service would not refuse as things stand. */
function actionsFor(d) {
  // A split key as a whole takes no action, and a lane behind its fence opens by itself.
  if (d.lanes.length > 0 || d.hold.code === 'CVY_LANE_FENCE') return [];
  const isStopped = d.hold.kind === 'blocked' || d.hold.kind === 'retrying';
  return [
    d.hold.kind === 'paused' ? 'resume' : 'pause',
    ...(isStopped ? ['retry', 'skip', ...(d.hold.code === 'CVY_GAP' ? [] : ['park'])] : []),
    ...(d.parked > 0 ? ['replay'] : []),
    ...(d.completedAt ? [] : ['cancel']),
  ];
}

/** What lies aside: parked messages, the lane behind one, what waits for a gap. */
function asideOf(d) {
  const lane = d.aside && d.aside.lane;
  const parts = [];
  if (d.aside && d.aside.count) parts.push(count(d.aside.count) + ' parked');
  if (d.aside && d.aside.healing) parts.push(count(d.aside.healing) + ' being replayed');
  if (lane) parts.push(count(lane.messages) + ' behind position ' + lane.position);
  if (d.gap) {
    const missing = d.gap.from === d.gap.to ? d.gap.from : d.gap.from + ' to ' + d.gap.to;
    parts.push(count(d.gap.messages) + ' wait for senderPosition ' + missing);
  }
  return parts.join(' · ') || '–';
}

const lanesIn = (d) => d.lanes.map((lane) => ({ ...lane, convoy: d.convoy }));

function factsOf(d) {
  const hold = d.hold;
  const fact = (name, value) => h('div', {}, h('dt', {}, name), h('dd', {}, value));
  const counts = Object.entries(d.counts || {})
    .filter(([, n]) => n > 0)
    .map(([name, n]) => name + ' ' + count(n))
    .join(' · ');
  return [
    h(
      'div',
      { class: 'head' },
      h('h2', {}, d.key),
      h('span', { class: 'calm' }, d.convoy),
      mark(d.phase),
      h(
        'span',
        { class: 'acts' },
        actionsFor(d).map((action) =>
          h(
            'button',
            {
              type: 'button',
              'data-focus': action,
              onclick: () => ask(action, d),
            },
            action,
          ),
        ),
      ),
    ),
    hold.kind === 'none'
      ? ''
      : h(
          'div',
          { class: 'hold ' + (tones[hold.kind] || '') },
          h(
            'p',
            {},
            mark(hold.kind),
            hold.position ? ' at position ' + hold.position : '',
            hold.attempts ? ', attempt ' + hold.attempts : '',
            hold.code ? ' · ' + hold.code : '',
          ),
          hold.reason ? h('p', {}, hold.reason) : null,
          hold.remedy ? h('p', { class: 'small' }, 'Remedy: ' + hold.remedy) : null,
          hold.nextAttemptAt
            ? h('p', { class: 'small' }, 'Next attempt ', instant(hold.nextAttemptAt))
            : null,
        ),
    d.hot
      ? h(
          'div',
          { class: 'hold wait' },
          h(
            'p',
            {},
            mark('hot'),
            ' for ' + age(d.hot.sinceSeconds),
            ' · settles ' + d.hot.messagesPerSecond + '/s',
            ' · ' + d.hot.admittedPerSecond + '/s admitted',
            ' · limit: ' + d.hot.limit,
          ),
          h('p', {}, d.hot.advice),
        )
      : '',
    d.throttled
      ? h(
          'div',
          { class: 'hold wait' },
          h('p', {}, mark('throttled'), ' by ' + d.throttled.by, ' since ', ago(d.throttled.since)),
          h('p', { class: 'small' }, 'The key waits as asked; no message has failed.'),
        )
      : '',
    h(
      'dl',
      {},
      fact('Backlog', count(d.backlog)),
      fact('Head waits', age(d.headAgeSeconds)),
      fact('Settled to', count(d.cursor) + ' of ' + count(d.tail)),
      fact('Epoch', count(d.epoch)),
      fact('Outcomes', counts || '–'),
      fact('Set aside', asideOf(d)),
      fact('Repeats', count(d.repeats)),
      fact('Dead-lettered', count(d.deadLettered)),
      fact('Changed', instant(d.updatedAt)),
      fact('Next due', instant(d.dueAt)),
      d.completedAt ? fact('Completed', instant(d.completedAt)) : '',
      fact('Instance', h('code', {}, d.instanceId || '–')),
    ),
    d.lanes.length > 0 ? h('h2', {}, 'Lanes') : '',
    d.lanes.length > 0 ? table(laneColumns, lanesIn(d), '') : '',
    h('h2', {}, 'State'),
    h('div', { class: 'sheet' }, h('pre', { tabindex: '0' }, JSON.stringify(d.state, null, 2))),
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
      await api('/convoys/' + detail.convoy + '/' + detail.pathKey + '/' + action, {
        method: 'POST',
        body: JSON.stringify(body),
      });
      $('ask-form').reset();
      $('ask').close();
    } catch (error) {
      $('ask-error').textContent = error.message;
    }
    draw();
  };
}

/** Services that have limited the rate within the last minute, as far as this instance knows. */
function throttledNow(throttling) {
  const names = ['cosmos', 'serviceBus'].filter(
    (name) => Date.now() - Date.parse(throttling?.[name]?.lastAt) < 60000,
  );
  if (!names.length) return null;
  const counts = names.map((name) => name + ' ' + throttling[name].count);
  const title = 'refused requests since ' + throttling.since + ', instance ' + throttling.instance;
  return { text: 'throttled: ' + counts.join(', '), title };
}

async function drawFigures() {
  const [stats, health] = await Promise.all([api('/stats'), api('/health')]);
  const figure = (name, value) => h('span', {}, h('b', {}, count(value)), ' ' + name);
  const failing = health.dependencies.filter((d) => d.status !== 'ok').map((d) => d.name);
  const throttling = throttledNow(health.throttling);
  show('figures', [stats.convoys, stats.messages, stats.holds, failing, throttling], () => [
    figure('keys', stats.convoys),
    figure('admitted', stats.messages.admitted),
    figure('waiting', stats.messages.waiting),
    figure('blocked', stats.holds.blocked || 0),
    failing.length
      ? h('span', { class: 'mark stop' }, failing.join(', ') + ' failing')
      : h('span', { class: 'mark well' }, 'all services answer'),
    throttling ? h('span', { class: 'mark wait', title: throttling.title }, throttling.text) : '',
  ]);
}

function route() {
  const found = /^#\/([^/]+)\/([^/]+)$/.exec(location.hash);
  view = found
    ? { kind: 'detail', convoy: found[1], pathKey: found[2], pages: 1 }
    : { kind: 'list', pages: 1 };
  $('list-view').hidden = view.kind !== 'list';
  $('detail-view').hidden = view.kind !== 'detail';
  for (const id of ['facts', 'messages', 'windows']) {
    $(id).replaceChildren();
    delete $(id).dataset.shown;
  }
  round = 0;
  draw();
}

let drawing = false;
async function draw() {
  clearTimeout(timer);
  if (drawing) {
    timer = setTimeout(draw, 200);
    return;
  }
  drawing = true;
  try {
    if (round++ % 5 === 0) await drawFigures();
    await (view.kind === 'detail' ? drawDetail() : drawList());
    $('notice').hidden = true;
    $('pulse').textContent = 'as of ' + new Date().toLocaleTimeString();
  } catch (error) {
    if (error.status === 401) $('key-form').hidden = false;
    $('notice').hidden = false;
    $('notice').textContent =
      error.status === 401
        ? 'The service asks for a host key (Azure portal: App keys, host keys).'
        : error.message;
    round = 0;
  } finally {
    drawing = false;
    if (!document.hidden && !$('ask').open) timer = setTimeout(draw, refreshMs);
  }
}

document.addEventListener('visibilitychange', () =>
  document.hidden ? clearTimeout(timer) : draw(),
);
window.addEventListener('hashchange', route);
$('ask').addEventListener('close', draw);
$('ask-cancel').addEventListener('click', () => $('ask').close());
$('filters').addEventListener('input', () => {
  view.pages = 1;
  clearTimeout(timer);
  timer = setTimeout(draw, 250);
});
$('filters').addEventListener('submit', (event) => {
  event.preventDefault();
  draw();
});
$('outcome').addEventListener('change', () => {
  view.pages = 1;
  draw();
});
$('key-form').addEventListener('submit', (event) => {
  event.preventDefault();
  sessionStorage.setItem(keySlot, $('host-key').value);
  $('host-key').value = '';
  $('key-form').hidden = true;
  draw();
});
route();
`;
