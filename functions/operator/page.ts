// The board: one page without framework, build or data. Everything it shows it fetches from the API
// with the key its user gives it, so the page itself may be anonymous (CONTRACT §5).
import { createHash } from 'node:crypto';
import { boardScript } from './page-script.ts';
import { boardStyle } from './page-style.ts';
import { holds, outcomes, phases } from './words.ts';

const stations = [...phases, ...holds, 'none'];

const hashOf = (text: string): string =>
  `'sha256-${createHash('sha256').update(text, 'utf8').digest('base64')}'`;

/** Content security policy: this script and this style and nothing else, from nowhere else. */
export const boardPolicy = [
  "default-src 'none'",
  `script-src ${hashOf(boardScript)}`,
  `style-src ${hashOf(boardStyle)}`,
  "connect-src 'self'",
  'img-src data:',
  "form-action 'none'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ');

const options = (values: readonly string[]): string =>
  values.map((value) => `<option value="${value}">${value}</option>`).join('');

export const boardPage = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Convoy board</title>
<link rel="icon" href="data:,">
<style>${boardStyle}</style>
</head>
<body>
<header>
  <h1><a href="#/">Convoy</a></h1>
  <p id="figures" aria-live="off"></p>
  <span id="pulse"></span>
</header>
<main>
  <p id="notice" role="status" hidden></p>
  <form id="key-form" class="bar" hidden>
    <label>Host key<input id="host-key" type="password" autocomplete="off" required></label>
    <button>Use key</button>
  </form>
  <section id="list-view">
    <form id="filters" class="bar">
      <label>Convoy<input name="convoy" pattern="[a-z][a-z0-9-]{0,29}" placeholder="any"></label>
      <label>Phase or hold
        <select name="status"><option value="">any</option>${options(stations)}</select>
      </label>
      <label class="tick">
        <input type="checkbox" name="backlog" value="true">with backlog only
      </label>
      <label class="tick">
        <input type="checkbox" name="parked" value="true">with parked only
      </label>
      <label class="tick">
        <input type="checkbox" name="hot" value="true">hot only
      </label>
    </form>
    <div id="list"></div>
  </section>
  <section id="detail-view" hidden>
    <p><a href="#/" data-focus="back">← all keys</a></p>
    <div id="facts"></div>
    <div class="head"><h2>Messages</h2>
      <label>Outcome
        <select id="outcome"><option value="">all</option>${options(outcomes)}</select>
      </label>
    </div>
    <div id="messages"></div>
    <h2>Windows</h2>
    <div id="windows"></div>
  </section>
</main>
<dialog id="ask" aria-labelledby="ask-title">
  <form id="ask-form">
    <h2 id="ask-title"></h2>
    <label>Reason (recorded)<input name="reason" required maxlength="1000" autofocus></label>
    <label>Who<input name="by" maxlength="200"></label>
    <p id="ask-error" class="stop" role="alert"></p>
    <div class="buttons">
      <button type="button" id="ask-cancel">Cancel</button>
      <button>Do it</button>
    </div>
  </form>
</dialog>
<script type="module">${boardScript}</script>
</body>
</html>
`;
