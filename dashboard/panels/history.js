// How the contents and the load of the database went: a chart for each figure over a day, a week, a month or 90 days, and what grew.

import { line } from '../lib/charts.js';
import { fill, h, table } from '../lib/dom.js';
import { ago, bytes, bytesText, count, countText } from '../lib/format.js';
import { source } from '../lib/source.js';

/** The ranges, as the API names them. */
const RANGES = { day: 'a day', week: 'a week', month: '30 days', quarter: '90 days' };
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
  let range = 'week';
  let drawn = null;
  const sources = () => ({ history: source(`/api/db/history?range=${range}`) });
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
    drawn = null;
    fill(charts, h('div', { class: 'skeleton' }));
    fill(grown);
    offer();
    use(sources());
  }

  const update = ({ history }) => {
    if (!history.data || history.data === drawn) return;
    drawn = history.data;
    fill(charts, CHARTS.map((chart) => h('div', {}, drawChart(drawn, ...chart))), drawn.categories.map((category) =>
      h('div', {}, drawChart({ ...drawn, ...category }, 'dataBytes', `data of ${category.category}`, bytesText))));
    fill(grown, growth(drawn));
  };
  offer();
  return { sources: sources(), update };
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
