// One user: who they are, what they keep in Spaces, their documents and newest works.

import { linkTo } from '../lib/address.js';
import { box, copyButton, h, table } from '../lib/dom.js';
import { ago, bytes, bytesText, count, countText, percentText } from '../lib/format.js';

/** What storage and database have of a user. */
export function person(id, kept, works) {
  if (kept.code === 'unknown_user' && works.code === 'unknown_user') return h('p', { class: 'empty' }, `○ no user ${id}`);
  const failed = (what, { detail, code }) => h('p', { class: 'caution' }, code === 'unknown_user' ? `${what}: nothing of this user` : `▲ ${what}: ${detail}`);
  return h('div', { class: 'look' },
    kept.data ? user(kept) : failed('storage', kept),
    works.data ? documents(works) : failed('database', works));
}

/** Documents of a user by collection, and the newest works. */
function documents({ data: { user: { sub, handle, code }, collections }, meta }) {
  const some = collections.filter(({ documents: number }) => number !== 0);
  const newest = collections.flatMap(({ collection, newest: works }) => works.map((work) => ({ collection, ...work })))
    .sort((a, b) => ((a.at ?? '') < (b.at ?? '') ? 1 : -1)).slice(0, 12);
  const unknown = some.filter(({ documents: number }) => number === null).length;
  return [
    h('p', { class: 'facts' }, [handle ? `@${handle}` : 'no handle', sub, code].filter(Boolean).join(' · '), ' ', copyButton(sub, 'copy the sub', `sub ${sub}`)),
    meta.errors.map(({ source, detail }) => h('p', { class: 'caution' }, `▲ ${source}: ${detail}`)),
    some.length > 0 && h('div', { class: 'wide' }, table('documents of the user', [
      { title: 'documents of the user in', cell: ({ collection }) => h('a', { href: linkTo('collections', collection) }, collection) },
      { title: 'documents', number: true, cell: (row) => count(row.documents) },
    ], some)),
    unknown > 0 && h('p', { class: 'facts' }, 'a dash: no index begins with the owner'),
    newest.length > 0 && h('div', { class: 'wide' }, table('newest works', [
      { title: 'newest works', cell: ({ label, id }) => label ?? id?.$oid ?? JSON.stringify(id) },
      { title: 'in', cell: ({ collection }) => collection },
      { title: 'when', cell: ({ at }) => ago(at) },
    ], newest)),
  ].flat();
}

function user({ data, meta }) {
  const known = { true: '', false: 'AC no longer has this user', null: 'whether AC has this user is not known now' }[data.known];
  const largest = table('largest objects', [
    { title: 'largest objects', cell: ({ key }) => key },
    { title: 'bucket', cell: ({ bucket }) => bucket.replace(/-aesthetic-computer$/, '') },
    { title: 'bytes', number: true, cell: (row) => bytes(row.bytes) },
  ], data.largest);
  const list = (rows, name) => rows.map((row) => `${row[name].replace(/-aesthetic-computer$/, '')} ${bytesText(row.bytes)}`).join(', ') || 'nothing';
  return h('div', {},
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
