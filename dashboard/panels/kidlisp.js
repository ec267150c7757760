// KidLisp pieces and which of them are kept on a chain.

import { bars } from '../lib/charts.js';
import { box, fill, h, table } from '../lib/dom.js';
import { ago, count, countText, percentText } from '../lib/format.js';
import { source } from '../lib/source.js';

export function mount(body) {
  const sources = { keeps: source('/api/kidlisp/stats') };
  let last = null;
  const update = ({ keeps: { data } }) => {
    if (!data || data === last) return;
    last = data;
    const open = body.querySelector('details')?.open;
    fill(body, data.total === 0 ? h('p', { class: 'empty' }, '○ no pieces yet') : [figures(data), networks(data), lists(data)].flat());
    if (open) body.querySelector('details').open = true;
  };
  return { sources, update };
}

function figures({ total, new: fresh, kept, tokens, pending, failed, bakedNotKept, rebakePending }) {
  return h('div', { class: 'boxes' },
    box('pieces', count(total), `${countText(fresh.last7Days)} new in 7 days`),
    box('kept', count(kept), `${percentText(total ? kept / total : null)} of the pieces, ${countText(tokens)} tokens`),
    box('pending', count(pending), `${countText(rebakePending)} waiting to be baked again`),
    box('failed', count(failed), 'and not kept since'),
    box('baked, not kept', count(bakedNotKept), 'ready, but not minted'));
}

function networks({ byNetwork, tokens }) {
  const name = ({ network }) => network ?? 'unknown network';
  const rows = byNetwork.toSorted((a, b) => b.tokens - a.tokens);
  if (rows.length === 0) return h('p', { class: 'empty' }, '○ no tokens yet');
  const share = (row) => percentText(tokens ? row.tokens / tokens : null);
  const twin = table('tokens by network', [{ title: 'network', cell: name }, { title: 'tokens', number: true, cell: (row) => count(row.tokens) }, { title: 'share', number: true, cell: share }], rows);
  const summary = `${countText(tokens)} tokens on ${rows.map((row) => `${name(row)} ${countText(row.tokens)}`).join(', ')}.`;
  return bars(summary, rows.map((row) => ({ label: name(row), value: row.tokens, marked: 0, text: `${countText(row.tokens)} · ${share(row)}` })), twin);
}

function lists({ recent, topByHits }) {
  const piece = ({ code }) => h('a', { href: `https://aesthetic.computer/$${encodeURIComponent(code)}`, rel: 'noreferrer' }, `$${code}`);
  const by = ({ handle }) => (handle ? `@${handle}` : h('span', { class: 'unknown' }, 'no handle'));
  const kept = table('recent keeps', [
    { title: 'recent keeps', cell: piece },
    { title: 'by', cell: by },
    { title: 'network', cell: ({ network }) => network ?? 'unknown' },
    { title: 'kept', number: true, cell: ({ keptAt }) => ago(keptAt) },
  ], recent.slice(0, 12));
  const played = table('most played', [
    { title: 'most played', cell: piece },
    { title: 'by', cell: by },
    { title: 'plays', number: true, cell: ({ hits }) => count(hits) },
  ], topByHits.slice(0, 12));
  return h('div', { class: 'pair' },
    recent.length > 0 ? h('div', { class: 'wide' }, kept) : h('p', { class: 'empty' }, '○ no keeps yet'),
    topByHits.length > 0 ? h('div', { class: 'wide' }, played) : h('p', { class: 'empty' }, '○ nothing was played yet'));
}
