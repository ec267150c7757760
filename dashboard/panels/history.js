// How the contents and the load of the database and of Spaces went: a chart for each figure over a day, a week, a month or 90 days, and what grew.

import { keep, kept } from '../lib/address.js';
import { line } from '../lib/charts.js';
import { fill, h, table } from '../lib/dom.js';
import { ago, bytes, bytesText, count, countText } from '../lib/format.js';
import { source } from '../lib/source.js';

/** The ranges, as the API names them. */
const RANGES = { day: 'a day', week: 'a week', month: '30 days', quarter: '90 days' };
/** Days in each. */
const DAYS = { day: 1, week: 7, month: 30, quarter: 90 };
/** How many collections that grew are shown. */
const SHOWN = 12;

const rateText = (value) => (value === null ? '–' : `${value.toLocaleString('en', { maximumFractionDigits: 2 })}/s`);
/** What is drawn: its field, its name, and its values as text. */
const CHARTS = [
  ['documents', 'documents', countText],
  ['dataBytes', 'data', bytesText],
  ['users', 'users', countText],
  ['connections', 'connections', countText],
  ['readsPerSecond', 'reads', rateText],
  ['writesPerSecond', 'writes', rateText],
  ['diskUsedBytes', 'disk used', bytesText],
];

export function mount(body, use) {
  let range = kept('range') in RANGES ? kept('range') : 'week';
  let drawn = [];
  const large = new Set();
  const sources = () => ({ history: source(`/api/db/history?range=${range}`), storage: source('/api/storage/history') });
  const choice = h('div', { class: 'choice', role: 'group', 'aria-label': 'time shown' });
  const charts = h('div', { class: 'charts' });
  const grown = h('div');
  fill(body, choice, charts, grown);

  function offer() {
    fill(choice, Object.entries(RANGES).map(([name, text]) =>
      h('button', { type: 'button', 'data-key': `range ${name}`, 'aria-pressed': String(range === name), onclick: () => choose(name) }, text)));
  }

  function choose(name) {
    range = name;
    keep('range', name === 'week' ? '' : name);
    drawn = [];
    fill(charts, h('div', { class: 'skeleton' }));
    fill(grown);
    offer();
    use(sources());
  }

  /** A chart with a button that makes it larger. */
  function place(name, chart) {
    const element = h('div', { class: large.has(name) ? 'large' : null }, chart);
    const button = h('button', { type: 'button', class: 'zoom', 'data-key': `zoom ${name}`, 'aria-pressed': String(large.has(name)), onclick: () => {
      if (!large.delete(name)) large.add(name);
      element.classList.toggle('large', large.has(name));
      button.setAttribute('aria-pressed', String(large.has(name)));
    } }, 'larger');
    if (chart.querySelector('svg')) element.append(button);
    return element;
  }

  const update = ({ history, storage }) => {
    if (!history.data || (history.data === drawn[0] && storage.data === drawn[1])) return;
    drawn = [history.data, storage.data];
    const view = history.data;
    const open = [...charts.querySelectorAll('details[open] > summary')].map(({ dataset }) => dataset.key);
    fill(charts,
      CHARTS.map(([field, name, text]) => place(name, drawChart(view, field, name, text))),
      place('spaces', spaces(storage.data, range)),
      view.categories.map((category) => place(category.category, drawChart({ ...view, ...category }, 'dataBytes', `data of ${category.category}`, bytesText))));
    for (const key of open) {
      const summary = charts.querySelector(`[data-key="${CSS.escape(key)}"]`);
      if (summary) summary.parentElement.open = true;
    }
    fill(grown, growth(view));
  };
  offer();
  return { sources: sources(), update };
}

/** Bytes in Spaces on each day of the range. */
function spaces(storage, range) {
  if (!storage?.from) return h('p', { class: 'facts' }, 'spaces: not known yet');
  const days = storage.bytes.length;
  const first = Math.max(0, days - DAYS[range] - 1);
  const from = new Date(Date.parse(storage.from) + first * 86_400_000).toISOString();
  return drawChart({ from, stepSeconds: 86_400, bytes: storage.bytes.slice(first) }, 'bytes', 'spaces', bytesText);
}

function drawChart(view, field, name, text) {
  const { from, stepSeconds } = view;
  const values = view[field];
  const times = values.map((_, at) => new Date(Date.parse(from) + at * stepSeconds * 1000));
  const known = values.filter((value) => value !== null);
  const summary = known.length === 0 ? `${name}: not known yet` : `${name}: ${text(known.at(-1))}${known.length > 1 ? `, between ${text(Math.min(...known))} and ${text(Math.max(...known))}` : ', one sample so far'}`;
  return line(summary, values, times, text, name);
}

/** Which collections grew or shrank, most bytes first. */
function growth({ growth: all, range }) {
  const changed = all.filter(({ documents, dataBytes }) => documents !== 0 || dataBytes !== 0);
  const rows = changed.toSorted((a, b) => Math.abs(b.dataBytes) - Math.abs(a.dataBytes)).slice(0, SHOWN);
  const signed = (value, node) => h('span', {}, value > 0 && '+', node);
  const title = h('h3', {}, `What grew within ${RANGES[range]}`);
  if (all.length === 0) return [title, h('p', { class: 'empty' }, '○ two samples are needed first; one is taken every quarter of an hour')];
  if (rows.length === 0) return [title, h('p', { class: 'empty' }, '○ no collection changed its size')];
  return [title, h('div', { class: 'wide' }, table('collections by growth', [
    { title: 'collection', cell: ({ collection }) => collection },
    { title: 'documents', number: true, cell: ({ documents }) => signed(documents, count(documents)) },
    { title: 'data', number: true, cell: ({ dataBytes }) => signed(dataBytes, bytes(dataBytes)) },
    { title: 'since', cell: ({ since }) => ago(since) },
  ], rows)), changed.length > SHOWN && h('p', { class: 'facts' }, `${countText(changed.length - SHOWN)} others changed less`)];
}
