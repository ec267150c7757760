// Details of one collection: reasons against dropping it, indexes, fields, history; and its documents, when asked for.

import { line } from '../lib/charts.js';
import { linkTo } from '../lib/address.js';
import { copyButton, fill, h, table } from '../lib/dom.js';
import { ago, bytes, count, countText, percentText } from '../lib/format.js';
import { source } from '../lib/source.js';
import { showReasons, showState } from '../lib/state.js';

/** Details of a row, requested when it is opened: their element, and what takes a newer row. */
export function details(row) {
  const path = `/api/db/collections/${encodeURIComponent(row.name)}`;
  const [asked, past] = [source(path), source(`${path}/history?range=month`)];
  const state = h('span', { class: 'state' });
  const reasons = h('ul', { class: 'reasons', hidden: true });
  const fields = h('div');
  const chart = h('div');
  let drawn = null;
  const show = () => {
    const view = asked.view();
    showState(state, view);
    showReasons(reasons, [asked, past]);
    if (past.data && past.data !== drawn) {
      drawn = past.data;
      fill(chart, history(drawn));
    }
    if (view.data) fill(fields, look(view.data));
  };
  const stops = [asked, past].map((each) => each.watch(() => {
    if (state.isConnected) show();
    else stops.forEach((stop) => stop());
  }));
  show();
  const browse = h('div');
  const documents = h('button', { type: 'button', 'data-key': `documents of ${row.name}`, 'aria-expanded': 'false', onclick: async () => {
    const open = browse.childElementCount === 0;
    documents.setAttribute('aria-expanded', String(open));
    fill(browse, open && (await import('./documents.js')).documents(row.name));
  } }, 'documents');
  const sizes = h('div', { class: 'wide' });
  let shown = null;
  const update = (newer) => {
    const text = JSON.stringify(newer.indexes);
    if (text !== shown) fill(sizes, indexes(newer));
    shown = text;
  };
  update(row);
  const element = h('div', { class: 'look' },
    h('div', { class: 'tools' }, documents, copyButton(() => new URL(linkTo('collections', row.name), location.origin).href, 'copy a link', `link to ${row.name}`)), browse,
    row.caution && h('p', { class: 'caution' }, h('span', { 'aria-hidden': 'true' }, '◆ '), `before dropping it: ${row.caution}`),
    sizes, h('p', {}, state), reasons, fields, chart);
  return { element, update };
}

function indexes({ name, indexes: list }) {
  if (!list) return h('p', { class: 'empty' }, 'its indexes are not known');
  const traits = ({ unique, sparse, partial, ttlSeconds }) =>
    [unique && 'unique', sparse && 'sparse', partial && 'partial', ttlSeconds !== null && `expires after ${ttlSeconds} s`].filter(Boolean).join(', ');
  return table(`indexes of ${name}`, [
    { title: 'index', cell: (index) => index.name },
    { title: 'keys', cell: (index) => [index.keys.join(', '), traits(index) && h('span', { class: 'tag' }, traits(index))] },
    { title: 'size', number: true, cell: (index) => bytes(index.bytes) },
    { title: 'used', number: true, cell: (index) => [count(index.ops), ' ', index.since ? h('span', { class: 'since' }, 'since ', ago(index.since)) : ''] },
  ], list);
}

/** Documents of the last 30 days. */
function history({ documents, from, stepSeconds }) {
  const times = documents.map((_, at) => new Date(Date.parse(from) + at * stepSeconds * 1000));
  const known = documents.filter((value) => value !== null);
  if (known.length === 0) return h('p', { class: 'facts' }, 'documents over time: no sample yet');
  if (known.length === 1) return h('p', { class: 'facts' }, 'documents over time: one sample so far');
  const change = known.at(-1) - known[0];
  const summary = `documents: ${countText(known.at(-1))}, ${change >= 0 ? '+' : ''}${countText(change)} in the samples of the last 30 days`;
  return line(summary, documents, times, countText, 'documents');
}

function look({ name, sampled, topFields, dynamicFields, newestDocument, newestFrom, newestUnknown, ownerField }) {
  const kinds = ({ types }) => Object.entries(types).map(([type, times]) => (Object.keys(types).length > 1 ? `${type} ${times}` : type)).join(', ');
  const facts = h('p', { class: 'facts' },
    'newest document ', ago(newestDocument), newestFrom ? ` by ${newestFrom}` : '', newestUnknown ? ` (${newestUnknown})` : '', ownerField ? ` · owner in ${ownerField}` : '');
  if (!topFields || topFields.length === 0) return [facts, h('p', { class: 'empty' }, '○ no documents to look at')];
  const seen = table(`fields of ${name}`, [
    { title: `field, in ${sampled} sampled`, cell: (field) => [field.name, field.redacted && h('span', { class: 'tag' }, 'never shown')] },
    { title: 'type', cell: kinds },
    { title: 'in', number: true, cell: (field) => percentText(sampled ? field.documents / sampled : null) },
  ], topFields);
  const more = dynamicFields > 0 && h('p', { class: 'facts' }, `and ${dynamicFields} fields whose names are data`);
  return [facts, h('div', { class: 'wide' }, seen), more];
}
