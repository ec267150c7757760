// Looking one user up: what they keep, by handle, sub or code.

import { box, fill, h, table } from '../lib/dom.js';
import { bytes, bytesText, count, countText, percentText } from '../lib/format.js';

export function lookUp() {
  const input = h('input', { type: 'search', name: 'id', placeholder: '@handle, sub or code', 'aria-label': 'find a user by @handle, sub or code', autocomplete: 'off', spellcheck: 'false', maxlength: 255 });
  const found = h('div', { class: 'found-user', role: 'status' });
  let asked = 0;
  const ask = async (event) => {
    event.preventDefault();
    const id = input.value.trim();
    const own = ++asked;
    if (id === '') return fill(found);
    fill(found, h('p', { class: 'facts' }, 'looking …'));
    const view = await answer(id);
    // A later question has an answer of its own.
    if (own === asked) fill(found, view);
  };
  return h('div', { class: 'look-up' }, h('h3', {}, 'find a user'), h('form', { class: 'tools', onsubmit: ask }, input, h('button', { type: 'submit' }, 'find')), found);
}

async function answer(id) {
  try {
    const answer = await fetch(`/api/storage/user/${encodeURIComponent(id)}`, { cache: 'no-cache', signal: AbortSignal.timeout(8000) });
    const body = await answer.json();
    if (answer.ok) return user(body);
    return h('p', { class: 'empty' }, answer.status === 404 ? `○ no user ${id}` : `✕ ${body.detail}`);
  } catch {
    return h('p', { class: 'empty' }, '✕ the gateway cannot be reached');
  }
}

function user({ data, meta }) {
  const known = { true: '', false: 'AC no longer has this user', null: 'whether AC has this user is not known now' }[data.known];
  const largest = table('largest objects', [
    { title: 'largest objects', cell: ({ key }) => key },
    { title: 'bucket', cell: ({ bucket }) => bucket.replace(/-aesthetic-computer$/, '') },
    { title: 'bytes', number: true, cell: (row) => bytes(row.bytes) },
  ], data.largest);
  const list = (rows, name) => rows.map((row) => `${row[name].replace(/-aesthetic-computer$/, '')} ${bytesText(row.bytes)}`).join(', ') || 'nothing';
  return h('div', { class: 'look' },
    h('p', {}, data.handle ? `@${data.handle}` : 'no handle known', h('span', { class: 'facts' }, ` · ${data.sub}${data.code ? ` · ${data.code}` : ''}`)),
    known && h('p', { class: 'caution' }, known),
    meta.state === 'stale' && h('p', { class: 'caution' }, `as of ${new Date(meta.asOf).toLocaleString('en')}`),
    h('div', { class: 'boxes' },
      box('stored', bytes(data.bytes), `${countText(data.objects)} objects, ${percentText(data.share)} of all`),
      box('rank', count(data.rank), `of ${countText(data.of)} users with objects`),
      box('buckets', count(data.buckets.length), list(data.buckets, 'bucket')),
      box('kinds', count(data.kinds.length), list(data.kinds, 'kind'))),
    data.largest.length > 0 && h('div', { class: 'wide' }, largest));
}
