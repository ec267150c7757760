// Which collections there are, by category, how big each is, and how much of it all is disposable.

import { bars } from '../lib/charts.js';
import { captionOf, fill, h, say, table } from '../lib/dom.js';
import { bytes, bytesText, count, countText, percent, percentText } from '../lib/format.js';
import { keep, kept, keptList } from '../lib/address.js';
import { source } from '../lib/source.js';

/** The columns; those marked `less` are left out on a phone. */
const COLUMNS = [
  { key: 'name', title: 'collection', cell: (row) => row.name },
  { key: 'category', title: 'category', less: true, cell: (row) => [row.category, row.disposable && h('span', { class: 'tag' }, 'disposable')] },
  { key: 'documents', title: 'documents', number: true, cell: (row) => count(row.documents) },
  { key: 'dataBytes', title: 'data', number: true, cell: (row) => bytes(row.dataBytes) },
  { key: 'storageBytes', title: 'on disk', number: true, less: true, cell: (row) => bytes(row.storageBytes) },
  { key: 'indexBytes', title: 'indexes', number: true, less: true, cell: (row) => bytes(row.indexBytes) },
  { key: 'averageDocumentBytes', title: 'average', number: true, less: true, cell: (row) => bytes(row.averageDocumentBytes) },
];

/** A phone. */
const NARROW = matchMedia('(max-width: 600px)');
const columns = () => COLUMNS.filter(({ less }) => !less || !NARROW.matches);

/** What the bars measure. */
const MEASURES = {
  size: { of: 'dataBytes', share: 'shareOfDataBytes', noun: 'of the data', text: bytesText },
  documents: { of: 'documents', share: 'shareOfDocuments', noun: 'of the documents', text: countText },
};

export function mount(body) {
  const sources = { collections: source('/api/db/collections') };
  const [sort, down] = (kept('sort') ?? 'dataBytes down').split(' ');
  const choice = {
    measure: kept('measure') === 'documents' ? 'documents' : 'size', sort: COLUMNS.some(({ key }) => key === sort) ? sort : 'dataBytes', down: down === 'down',
    filter: kept('filter') ?? '', grouped: kept('list') !== 'all', groups: new Set(keptList('groups')), open: new Set(keptList('open')),
  };
  /** The module with the details of a row. */
  let collection = null;
  let last = null;
  /** Details of the open rows. */
  const opened = new Map();
  /** The collection that the address names, until it is shown. */
  let wanted = null;

  const chart = h('div', { class: 'chart' });
  const measures = h('div', { class: 'choice', role: 'group', 'aria-label': 'bars show' });
  const filter = h('input', { type: 'search', placeholder: 'filter by name or category', 'aria-label': 'filter collections', oninput: () => choose({ filter: filter.value.trim().toLowerCase() }) });
  const found = h('span', { class: 'found' });
  const flat = h('button', { type: 'button', 'data-key': 'every collection', onclick: () => choose({ grouped: !choice.grouped }) });
  const head = h('tr');
  const rows = h('tbody');
  const all = h('table', { class: 'collections', 'data-name': 'collections' }, captionOf('collections'), h('thead', {}, head), rows);
  const crashed = h('p', { class: 'facts warning', 'data-state': 'partial', hidden: true }, '◑ mongod was not shut down cleanly before it started: documents and sizes may be off until validate has run');
  const empty = h('p', { class: 'empty', hidden: true }, '○ the database has no collections');
  const shown = h('div', { hidden: true }, measures, chart, h('div', { class: 'tools' }, filter, flat, found), all);

  filter.value = choice.filter;
  const choose = (change) => {
    Object.assign(choice, change);
    draw();
  };

  function note() {
    keep('filter', choice.filter);
    keep('list', choice.grouped ? '' : 'all');
    keep('groups', [...choice.groups]);
    keep('open', [...choice.open]);
    keep('measure', choice.measure === 'size' ? '' : choice.measure);
    keep('sort', choice.sort === 'dataBytes' && choice.down ? '' : `${choice.sort} ${choice.down ? 'down' : 'up'}`);
  }

  /** Opens the row of a collection, and brings it into view. */
  function reveal(name, kind) {
    wanted = { name, kind };
    if (last) draw();
  }

  function find() {
    const row = last.collections.find(({ name }) => name === wanted.name);
    if (!row) return;
    choice.open.add(row.name);
    choice.groups.add(row.category);
    if (!`${row.name} ${row.category}`.toLowerCase().includes(choice.filter)) choice.filter = filter.value = '';
  }

  function draw() {
    if (!last) return;
    if (wanted) find();
    note();
    crashed.hidden = last.countsMayBeOff !== true;
    empty.hidden = last.collections.length > 0;
    shown.hidden = !empty.hidden;
    fill(measures, Object.keys(MEASURES).map((name) =>
      h('button', { type: 'button', 'data-key': `by ${name}`, 'aria-pressed': String(choice.measure === name), onclick: () => choose({ measure: name }) }, `by ${name}`)));
    const open = chart.querySelector('details')?.open;
    fill(chart, incomplete(last.total), categories(last, MEASURES[choice.measure]));
    if (open) chart.querySelector('details').open = true;
    fill(head, columns().map(heading));
    const listed = last.collections.filter(({ name, category }) => `${name} ${category}`.toLowerCase().includes(choice.filter)).toSorted(order);
    say(found, choice.filter ? `${listed.length} of ${last.collections.length}` : `${last.collections.length} collections`);
    const grouped = choice.grouped && choice.filter === '';
    say(flat, grouped ? 'every collection' : 'by category');
    flat.hidden = choice.filter !== '';
    fill(rows, grouped ? last.categories.toSorted(larger).flatMap((category) => group(category, listed)) : listed.flatMap(lines));
    for (const [name, { details: row }] of opened) if (!row.isConnected) opened.delete(name);
    // Its details are drawn when their module is loaded.
    if (!wanted || (!collection && choice.open.has(wanted.name))) return;
    const { name, kind } = wanted;
    wanted = null;
    const button = rows.querySelector(`[data-key="${CSS.escape(`open ${name}`)}"]`);
    button?.scrollIntoView({ block: 'start' });
    button?.focus({ preventScroll: true });
    if (kind === 'documents') rows.querySelector(`[data-key="${CSS.escape(`documents of ${name}`)}"][aria-expanded="false"]`)?.click();
  }

  /** A category with its sums, and its collections when it is open. */
  function group(category, listed) {
    const { category: name } = category;
    const open = choice.groups.has(name);
    const turn = () => {
      if (open) choice.groups.delete(name);
      else choice.groups.add(name);
      draw();
    };
    const button = h('button', { type: 'button', class: 'open', 'data-key': `category ${name}`, 'aria-expanded': String(open), onclick: turn },
      h('span', { class: 'arrow', 'aria-hidden': 'true' }, open ? '▾' : '▸'), name, h('span', { class: 'tag' }, countText(category.collections)));
    const own = { ...category, name, category: '', averageDocumentBytes: null };
    const cells = columns().map((column) => {
      if (column.key === 'name') return h('th', { scope: 'row' }, button);
      return h('td', { class: place(column) }, column.key === 'averageDocumentBytes' ? '' : column.cell(own));
    });
    return [h('tr', { class: 'group' }, cells), ...(open ? listed.filter((row) => row.category === name).flatMap(lines) : [])];
  }

  function heading(column) {
    const sorted = choice.sort === column.key;
    const turn = () => choose({ sort: column.key, down: sorted ? !choice.down : Boolean(column.number) });
    return h('th', { scope: 'col', class: place(column), 'aria-sort': sorted ? (choice.down ? 'descending' : 'ascending') : null },
      h('button', { type: 'button', 'data-key': `sort ${column.key}`, onclick: turn }, column.title, h('span', { class: 'arrow', 'aria-hidden': 'true' }, sorted ? (choice.down ? '▾' : '▴') : '')));
  }

  function order(a, b) {
    const [x, y] = [a[choice.sort], b[choice.sort]];
    if (x === y) return a.name < b.name ? -1 : 1;
    // Unknown values come last in both directions.
    if (x === null) return 1;
    if (y === null) return -1;
    return (x < y ? -1 : 1) * (choice.down ? -1 : 1);
  }

  function lines(row) {
    const open = choice.open.has(row.name);
    const turn = () => {
      if (open) choice.open.delete(row.name);
      else choice.open.add(row.name);
      draw();
    };
    const name = h('button', { type: 'button', class: 'open', 'data-key': `open ${row.name}`, 'aria-expanded': String(open), onclick: turn },
      h('span', { class: 'arrow', 'aria-hidden': 'true' }, open ? '▾' : '▸'), row.name);
    const cells = columns().map((column) => (column.key === 'name' ? h('th', { scope: 'row' }, name) : h('td', { class: place(column) }, column.cell(row))));
    const line = h('tr', { class: row.disposable ? 'disposable' : null }, cells);
    if (!open) return [line];
    // Kept as it is, with the documents that somebody reads in it.
    if (!opened.has(row.name)) {
      // Loaded when the first row is opened.
      if (!collection) {
        import('./collection.js').then((module) => {
          collection = module;
          draw();
        }, () => null);
        return [line];
      }
      const { element, update } = collection.details(row);
      opened.set(row.name, { update, details: h('tr', { class: 'details' }, h('td', { colspan: columns().length }, element)) });
    }
    opened.get(row.name).update(row);
    return [line, opened.get(row.name).details];
  }

  NARROW.addEventListener('change', draw);
  fill(body, crashed, empty, shown);
  const update = ({ collections }) => {
    if (!collections.data || collections.data === last) return;
    last = collections.data;
    draw();
  };
  return { sources, update, reveal };
}

/** Most bytes first; unknown ones last. */
const larger = (a, b) => (b.dataBytes ?? -1) - (a.dataBytes ?? -1);
const place = ({ number }) => (number ? 'number' : null);

function categories({ categories: list, collections, disposable }, { of, share, noun, text }) {
  const droppable = (category) => sum(collections.filter((row) => row.category === category && row.disposable).map((row) => row[of]));
  const rows = list.toSorted((a, b) => (b[of] ?? -1) - (a[of] ?? -1));
  const part = disposable[share];
  const summary = part === null ? `How much ${noun} is disposable is not known.`
    : `${percentText(part)} ${noun} is disposable, hatched here: ${text(disposable[of])} of logs and caches that can be dropped, after a review of their use.`;
  const twin = table('categories', [
    { title: 'category', cell: (row) => row.category },
    { title: 'collections', number: true, cell: (row) => count(row.collections) },
    { title: 'documents', number: true, cell: (row) => count(row.documents) },
    { title: 'share', number: true, cell: (row) => percent(row.shareOfDocuments) },
    { title: 'data', number: true, cell: (row) => bytes(row.dataBytes) },
    { title: 'share', number: true, cell: (row) => percent(row.shareOfDataBytes) },
  ], rows);
  return bars(summary, rows.map((row) => ({ label: row.category, value: row[of], marked: droppable(row.category), text: `${text(row[of])} · ${percentText(row[share])}` })), twin);
}

/** The known part of a total of which another part is not known. */
function incomplete({ documents, dataBytes, knownDocuments, knownDataBytes }) {
  if (documents !== null && dataBytes !== null) return null;
  return h('p', { class: 'facts', 'data-state': 'partial' }, `◑ not every collection was measured: at least ${countText(knownDocuments)} documents and ${bytesText(knownDataBytes)}`);
}

/** A sum of which one part is not known is not known. */
const sum = (values) => values.reduce((total, value) => (total === null || value === null ? null : total + value), 0);
