// What lies in Spaces: how much, in which buckets, of which kinds, whose, and how far the scan is.

import { linkTo } from '../lib/address.js';
import { bars, treemap } from '../lib/charts.js';
import { box, fill, h, table } from '../lib/dom.js';
import { ago, bytes, bytesText, count, countText, percent, percentText } from '../lib/format.js';
import { source } from '../lib/source.js';
import { lookUp } from './user.js';

/** How often one looks while a scan runs. */
const WATCH_MS = 1500;
/** How many users the treemap shows by name. */
const SHOWN = 60;

export function mount(body) {
  const sources = { usage: source('/api/storage/usage'), buckets: source('/api/storage/buckets'), top: source(`/api/storage/top-users?limit=${SHOWN}`) };
  const scan = h('div', { class: 'scan' });
  const notice = h('p', { class: 'notice', role: 'status' });
  const totals = h('div', { class: 'boxes' });
  const charts = h('div', { class: 'charts' });
  const users = h('div', { class: 'owners' });
  const people = lookUp();
  fill(body, totals, scan, notice, charts, users, people.element);

  const drawn = {};
  let wasScanning = false;
  let timer = null;

  const now = async () => {
    notice.textContent = await rescan();
    sources.usage.ask();
  };

  /** Requests progress often while a scan is running, and the result when it has ended. */
  function watchScan({ scanning }) {
    if (wasScanning && !scanning) {
      notice.textContent = '';
      sources.buckets.ask();
      sources.top.ask();
    }
    wasScanning = scanning;
    clearTimeout(timer);
    if (scanning && !document.hidden) timer = setTimeout(() => sources.usage.ask(), WATCH_MS);
  }

  function redraw(name, parts, element, make) {
    if (parts.some((part) => !part) || parts.every((part, at) => part === drawn[name]?.[at])) return;
    drawn[name] = parts;
    const open = [...element.querySelectorAll('details[open]')].map((details) => details.querySelector('summary').dataset.key);
    fill(element, make());
    for (const key of open) {
      const summary = element.querySelector(`[data-key="${CSS.escape(key)}"]`);
      if (summary) summary.parentElement.open = true;
    }
  }

  const update = ({ usage, buckets, top }) => {
    redraw('totals', [usage.data, buckets.data ?? {}], totals, () => figures(usage.data, buckets.data));
    redraw('scan', [usage.data], scan, () => scanLine(usage.data.scan, now));
    redraw('charts', [usage.data?.kinds && buckets.data], charts, () => [byBucket(buckets.data.buckets), byKind(usage.data), ...bySizeAndAge(buckets.data.buckets), folders(buckets.data.buckets), uploads(buckets.data.buckets)]);
    redraw('users', [top.data, usage.data?.unattributed && buckets.data], users, () => owners(top.data, usage.data));
    if (usage.data && usage.data !== drawn.watched) {
      drawn.watched = usage.data;
      watchScan(usage.data.scan);
    }
  };
  document.addEventListener('visibilitychange', () => drawn.watched && watchScan(drawn.watched.scan));
  return { sources, update, reveal: people.look };
}

async function rescan() {
  try {
    const answer = await fetch('/api/storage/rescan', { method: 'POST', signal: AbortSignal.timeout(8000) });
    if (answer.status === 202) return 'a scan begins';
    return (await answer.json()).detail;
  } catch {
    return 'the gateway cannot be reached';
  }
}

function figures({ bytes: all, objects, knownBytes, growth, owners, unattributed, lastFullScan }, buckets) {
  const more = ({ bytes: by, objects: count }) => `${by < 0 ? '−' : '+'}${bytesText(Math.abs(by))}, ${count < 0 ? '−' : '+'}${countText(Math.abs(count))} objects`;
  const unfinished = (buckets?.buckets ?? []).map((bucket) => bucket.unfinishedUploads);
  const uploads = unfinished.length > 0 && unfinished.every(Boolean) ? unfinished.reduce((sum, each) => sum + each.uploads, 0) : null;
  const parts = unfinished.reduce((sum, each) => (sum === null || each?.bytes == null ? null : sum + each.bytes), 0);
  const grown = (period) => (period ? `${more(period)}, since ${period.since}` : 'no record from then yet');
  return [
    box('spaces', bytes(all), all === null && knownBytes > 0 ? `at least ${bytesText(knownBytes)}` : `${countText(objects)} objects`),
    box('last day', growth.lastDay ? signed(growth.lastDay.bytes) : unknown(), grown(growth.lastDay)),
    box('last week', growth.lastWeek ? signed(growth.lastWeek.bytes) : unknown(), grown(growth.lastWeek)),
    box('users with objects', count(owners), unattributed ? `${bytesText(unattributed.bytes)} have no owner` : ''),
    box('unfinished uploads', count(uploads), uploads ? `${bytesText(parts)} of parts, in no other figure` : 'in no other figure'),
    box('every bucket as of', ago(lastFullScan), 'when its listing began'),
  ];
}

const signed = (value) => h('data', { value }, `${value < 0 ? '−' : '+'}${bytesText(Math.abs(value))}`);
const unknown = () => h('span', { class: 'unknown', title: 'not known' }, '–');

function scanLine(scan, now) {
  const button = h('button', { type: 'button', 'data-key': 'scan now', onclick: now, disabled: scan.scanning }, 'scan now');
  if (!scan.scanning) return [button, scan.nextAt && h('span', { class: 'facts' }, 'the next scan begins ', ago(scan.nextAt))];
  const done = scan.percent;
  return [button,
    h('progress', { 'aria-label': 'the scan', max: 100, value: done }),
    h('span', { class: 'facts' }, [
      scan.bucket ? `listing ${scan.bucket}` : 'beginning',
      `${countText(scan.objects)} objects`,
      scan.objectsPerSecond !== null && `${countText(scan.objectsPerSecond)} a second`,
      done !== null && `${percentText(done / 100)} of last time's`,
    ].filter(Boolean).join(' · '))];
}

function byBucket(buckets) {
  const known = buckets.filter((bucket) => bucket.bytes !== null);
  const total = known.reduce((sum, bucket) => sum + bucket.bytes, 0);
  const share = ({ bytes: part }) => percentText(total && part !== null ? part / total : null);
  const twin = table('buckets', [
    { title: 'bucket', cell: ({ name, error }) => [name, error && h('span', { class: 'tag' }, error.code)] },
    { title: 'objects', number: true, cell: (row) => count(row.objects) },
    { title: 'bytes', number: true, cell: (row) => bytes(row.bytes) },
    { title: 'share', number: true, cell: (row) => percent(total && row.bytes !== null ? row.bytes / total : null) },
    { title: 'newest', number: true, cell: (row) => ago(row.newestObject) },
    { title: 'classes', cell: (row) => row.classes.map(({ class: name, objects }) => `${name} ${countText(objects)}`).join(', ') },
    { title: 'older versions', cell: ({ olderVersions }) => ({ none: 'none', notCounted: '◑ not counted' })[olderVersions] ?? 'not known' },
    { title: 'as of', number: true, cell: (row) => ago(row.asOf) },
  ], buckets);
  const failed = buckets.filter(({ error }) => error);
  const summary = `${bytesText(total)} in ${countText(known.length)} buckets${failed.length > 0 ? `; ${failed.map(({ name }) => name).join(', ')} could not be listed this time` : ''}.`;
  const rows = buckets.toSorted((a, b) => (b.bytes ?? -1) - (a.bytes ?? -1));
  return h('div', {}, h('h3', {}, 'buckets'), bars(summary, rows.map((row) => ({
    label: row.name.replace(/-aesthetic-computer$/, ''), value: row.bytes, marked: row.error ? row.bytes : 0, text: `${bytesText(row.bytes)} · ${share(row)}`,
  })), twin));
}

function byKind({ kinds, knownBytes }) {
  const share = (row) => (knownBytes ? row.bytes / knownBytes : null);
  const twin = table('kinds', [
    { title: 'kind', cell: ({ kind }) => kind },
    { title: 'objects', number: true, cell: (row) => count(row.objects) },
    { title: 'bytes', number: true, cell: (row) => bytes(row.bytes) },
    { title: 'share', number: true, cell: (row) => percent(share(row)) },
  ], kinds);
  const summary = kinds.length === 0 ? 'No objects yet.' : `Most is ${kinds[0].kind}: ${percentText(share(kinds[0]))}.`;
  return h('div', {}, h('h3', {}, 'kinds'), bars(summary, kinds.map((row) => ({ label: row.kind, value: row.bytes, marked: 0, text: `${bytesText(row.bytes)} · ${percentText(share(row))}` })), twin));
}

/** Adds up the classes of all buckets. */
function classes(buckets, name) {
  const known = buckets.map((bucket) => bucket[name]).filter((list) => list.length > 0);
  const first = known[0] ?? [];
  const add = (at, field) => known.reduce((sum, list) => sum + list[at][field], 0);
  return first.map(({ below }, at) => ({ below, objects: add(at, 'objects'), bytes: add(at, 'bytes') }));
}

const days = (count) => (count >= 365 ? `${count / 365} y` : `${count} d`);

/** Bars of sizes and of ages. */
function bySizeAndAge(buckets) {
  const chart = (title, name, text) => {
    const rows = classes(buckets, name);
    const label = ({ below }, at) => (below === null ? `${text(rows[at - 1].below)} and more` : `less than ${text(below)}`);
    const total = rows.reduce((sum, row) => sum + row.bytes, 0);
    const labelled = rows.map((row, at) => ({ ...row, label: label(row, at) })).filter(({ objects }) => objects > 0);
    const twin = table(title, [
      { title, cell: (row) => row.label },
      { title: 'objects', number: true, cell: (row) => count(row.objects) },
      { title: 'bytes', number: true, cell: (row) => bytes(row.bytes) },
    ], labelled);
    const most = labelled.toSorted((a, b) => b.bytes - a.bytes)[0];
    const summary = most ? `Most bytes are in objects of ${most.label}: ${percentText(total ? most.bytes / total : null)}.` : 'No objects yet.';
    return h('div', {}, h('h3', {}, title), bars(summary, labelled.map((row) => ({ label: row.label.replace('less than', '<').replace(/^(.*) and more$/, '≥ $1'), value: row.bytes, marked: 0, text: `${bytesText(row.bytes)} · ${countText(row.objects)}` })), twin));
  };
  return [chart('size', 'sizes', bytesText), chart('age', 'ages', days)];
}

/** The largest folders of all buckets. */
function folders(buckets) {
  const all = buckets.flatMap(({ name, largestPrefixes }) => largestPrefixes.map((prefix) => ({ bucket: name, ...prefix })));
  const largest = all.toSorted((a, b) => b.bytes - a.bytes).slice(0, 20);
  if (largest.length === 0) return null;
  const missing = Math.max(...buckets.map(({ prefixesMissingBytes }) => prefixesMissingBytes ?? 0));
  const note = missing > 0 ? `, each at least; at most ${bytesText(missing)} are missing` : '';
  return h('details', {}, h('summary', { 'data-key': 'folders' }, `largest folders${note}`), h('div', { class: 'wide' }, table('largest folders', [
    { title: 'folder', cell: ({ prefix }) => prefix },
    { title: 'bucket', cell: ({ bucket }) => bucket },
    { title: 'objects', number: true, cell: (row) => count(row.objects) },
    { title: 'bytes', number: true, cell: (row) => bytes(row.bytes) },
  ], largest)));
}

/** The oldest unfinished uploads. */
function uploads(buckets) {
  const all = buckets.flatMap(({ name, unfinishedUploads }) => (unfinishedUploads?.list ?? []).map((upload) => ({ bucket: name, ...upload })));
  if (all.length === 0) return null;
  return h('details', {}, h('summary', { 'data-key': 'uploads' }, 'unfinished uploads, oldest first'), h('div', { class: 'wide' }, table('unfinished uploads', [
    { title: 'key', cell: ({ key }) => key },
    { title: 'bucket', cell: ({ bucket }) => bucket },
    { title: 'begun', cell: ({ begun }) => ago(begun) },
    { title: 'bytes', number: true, cell: (row) => bytes(row.bytes) },
  ], all.toSorted((a, b) => (a.begun < b.begun ? -1 : 1)))));
}

function owners({ users, of }, { knownBytes, unattributed }) {
  const name = ({ handle, sub }) => (handle ? `@${handle}` : sub);
  const named = users.reduce((sum, user) => sum + user.bytes, 0);
  const others = knownBytes - unattributed.bytes - named;
  const items = users.map((user) => ({ label: name(user), value: user.bytes, text: bytesText(user.bytes) }));
  const twin = table('users by bytes', [
    { title: 'user', cell: (user) => h('a', { title: user.sub, href: linkTo('users', user.handle ? `@${user.handle}` : user.sub) }, name(user)) },
    { title: 'rank', number: true, cell: (user) => count(user.rank) },
    { title: 'objects', number: true, cell: (user) => count(user.objects) },
    { title: 'bytes', number: true, cell: (user) => bytes(user.bytes) },
    { title: 'share', number: true, cell: (user) => percent(user.share) },
  ], users);
  const summary = users.length === 0 ? 'No user owns anything yet.'
    : `${countText(of)} users own ${bytesText(named + Math.max(0, others))}. ${bytesText(unattributed.bytes)} have no owner: files of guests, machines and the site.${others > 0 ? ` Here are the first ${countText(users.length)}, who own ${bytesText(named)}.` : ''}`;
  return [h('h3', {}, 'users'), items.length > 0 ? treemap(summary, items, twin) : h('p', { class: 'empty' }, `○ ${summary}`)];
}
