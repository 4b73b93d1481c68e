// The board's style sheet: calm, readable in light and dark, no image, no font to load.
export const boardStyle = `
:root {
  color-scheme: light dark;
  --paper: light-dark(#fbfbf9, #16181b);
  --sheet: light-dark(#ffffff, #1d2024);
  --ink: light-dark(#1d2126, #e4e6e8);
  --faint: light-dark(#5c6670, #9aa4ad);
  --line: light-dark(#dfe2e0, #32373d);
  --accent: light-dark(#1f5fa8, #7fb3ec);
  --well: light-dark(#2d6a43, #7cc596);
  --wait: light-dark(#8a5a00, #e2b04a);
  --stop: light-dark(#a3262a, #f08c8c);
}
* {
  box-sizing: border-box;
}
[hidden] {
  display: none !important;
}
body {
  margin: 0;
  background: var(--paper);
  color: var(--ink);
  font:
    15px/1.5 system-ui,
    -apple-system,
    "Segoe UI",
    sans-serif;
}
a {
  color: var(--accent);
  text-decoration: none;
}
a:hover {
  text-decoration: underline;
}
:focus-visible {
  outline: 2px solid var(--accent);
  outline-offset: 2px;
  border-radius: 3px;
}
header,
main {
  max-width: 76rem;
  margin: 0 auto;
  padding: 0 1.25rem;
}
header {
  display: flex;
  flex-wrap: wrap;
  gap: 0.25rem 1.5rem;
  align-items: baseline;
  padding-top: 1.1rem;
}
h1 {
  font-size: 1.15rem;
  margin: 0;
  letter-spacing: 0.01em;
}
h1 a {
  color: inherit;
}
h2 {
  font-size: 1.05rem;
  margin: 1.6rem 0 0.5rem;
}
#figures {
  display: flex;
  flex-wrap: wrap;
  gap: 0.1rem 1.25rem;
  color: var(--faint);
  margin: 0;
}
#figures b {
  color: var(--ink);
  font-weight: 600;
  font-variant-numeric: tabular-nums;
}
#pulse {
  margin-left: auto;
  color: var(--faint);
  font-size: 0.85rem;
}
#notice {
  border-left: 3px solid var(--stop);
  background: var(--sheet);
  padding: 0.6rem 0.9rem;
  margin: 1rem 0 0;
}
form.bar {
  display: flex;
  flex-wrap: wrap;
  gap: 0.6rem 1rem;
  align-items: end;
  margin: 1.1rem 0 0.8rem;
}
label {
  color: var(--faint);
  font-size: 0.82rem;
  display: grid;
  gap: 0.15rem;
}
label.tick {
  display: flex;
  gap: 0.4rem;
  align-items: center;
  padding-bottom: 0.35rem;
  font-size: 0.9rem;
}
input,
select,
button,
textarea {
  font: inherit;
  color: var(--ink);
  background: var(--sheet);
  border: 1px solid var(--line);
  border-radius: 5px;
  padding: 0.3rem 0.55rem;
}
button {
  cursor: pointer;
}
button:hover {
  border-color: var(--accent);
}
button:disabled {
  color: var(--faint);
  cursor: default;
}
.sheet {
  background: var(--sheet);
  border: 1px solid var(--line);
  border-radius: 8px;
  overflow-x: auto;
}
table {
  border-collapse: collapse;
  width: 100%;
}
th {
  text-align: left;
  font-weight: 500;
  font-size: 0.8rem;
  color: var(--faint);
}
th,
td {
  padding: 0.42rem 0.8rem;
  border-bottom: 1px solid var(--line);
  vertical-align: top;
}
tr:last-child td {
  border-bottom: 0;
}
td.n,
th.n {
  text-align: right;
  font-variant-numeric: tabular-nums;
}
td.why {
  max-width: 26rem;
}
td.wide {
  max-width: 24rem;
  overflow-wrap: anywhere;
}
.mark {
  font-weight: 550;
  white-space: nowrap;
}
.mark::before {
  content: "●";
  font-size: 0.6em;
  margin-right: 0.45em;
  vertical-align: 0.2em;
}
.calm {
  color: var(--faint);
}
.well {
  color: var(--well);
}
.wait {
  color: var(--wait);
}
.stop {
  color: var(--stop);
}
.small {
  font-size: 0.85rem;
  color: var(--faint);
}
.empty {
  padding: 1.4rem;
  color: var(--faint);
  text-align: center;
}
.head {
  display: flex;
  flex-wrap: wrap;
  gap: 0.5rem 1rem;
  align-items: baseline;
  margin: 1.2rem 0 0.6rem;
}
.head h2 {
  margin: 0;
  font-size: 1.25rem;
  overflow-wrap: anywhere;
}
.acts {
  margin-left: auto;
  display: flex;
  gap: 0.4rem;
  flex-wrap: wrap;
}
.hold {
  border-left: 3px solid var(--stop);
  padding: 0.6rem 0.9rem;
  margin: 0.9rem 0;
  background: var(--sheet);
}
.hold.wait {
  border-color: var(--wait);
  color: inherit;
}
.hold p {
  margin: 0.15rem 0;
  overflow-wrap: anywhere;
}
dl {
  display: grid;
  grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr));
  gap: 0.7rem 1.2rem;
  margin: 1rem 0;
}
dt {
  font-size: 0.8rem;
  color: var(--faint);
}
dd {
  margin: 0;
  overflow-wrap: anywhere;
  font-variant-numeric: tabular-nums;
}
pre,
code {
  font:
    13px/1.45 ui-monospace,
    "SF Mono",
    Menlo,
    Consolas,
    monospace;
}
pre {
  margin: 0;
  padding: 0.8rem;
  overflow: auto;
  max-height: 22rem;
}
.more {
  margin: 0.7rem 0;
}
dialog {
  background: var(--sheet);
  color: var(--ink);
  border: 1px solid var(--line);
  border-radius: 8px;
  width: min(30rem, 92vw);
  padding: 1.1rem 1.3rem;
}
dialog::backdrop {
  background: #0007;
}
dialog form {
  display: grid;
  gap: 0.8rem;
}
dialog h2 {
  margin: 0;
}
.buttons {
  display: flex;
  gap: 0.5rem;
  justify-content: flex-end;
}
`;
