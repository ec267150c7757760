// What happened in the last day: changes of the database as they happen, changes of services, backups and drills.

import { keep, kept, linkTo } from '../lib/address.js';
import { fill, h, say, svg, table } from '../lib/dom.js';
import { bytesText, countText } from '../lib/format.js';
import { source } from '../lib/source.js';
import { follow } from '../lib/stream.js';

/** Rows in the list. */
const SHOWN = 100;
/** Milliseconds of an hour. */
const HOUR = 3_600_000;

/** Where events come from. */
const ORIGINS = { database: 'database', services: 'services', backups: 'backups' };
const SHAPES = { up: '●', degraded: '◐', down: '▲', unknown: '?' };
const STATES = { up: 'fresh', degraded: 'partial', down: 'error', unknown: 'unknown' };
const OPERATIONS = { insert: 'new in', update: 'changed in', replace: 'replaced in', delete: 'deleted from', drop: 'dropped:', rename: 'renamed:' };

export function mount(body, use) {
  const origins = (kept('from') ?? '').split(' ').filter((name) => name in ORIGINS);
  const choice = { filter: kept('events') ?? '', origins: new Set(origins.length > 0 ? origins : Object.keys(ORIGINS)), hour: null, paused: null };
  /** Events of the database by number: those of the last answer, and those of the stream since. */
  const live = new Map();
  let views = {};
  let drawing = false;

  const sources = () => ({
    database: source(choice.hour === null ? '/api/db/activity' : `/api/db/activity?limit=1000&until=${new Date(choice.hour + HOUR).toISOString()}`),
    services: source('/api/services/changes'), backups: source('/api/backup/backups'), status: source('/api/backup/status'),
  });
  const rate = h('p', { class: 'facts' });
  const hours = h('div', { class: 'chart' });
  const filter = h('input', { type: 'search', placeholder: 'filter by collection, user, service', 'aria-label': 'filter events', oninput: () => choose({ filter: filter.value.trim().toLowerCase() }) });
  const kinds = h('div', { class: 'choice', role: 'group', 'aria-label': 'events of' });
  const pause = h('button', { type: 'button', onclick: () => choose({ paused: choice.paused ? null : { at: Date.now(), keys: new Set(gather().map(({ key }) => key)) } }) });
  const found = h('span', { class: 'found' });
  const list = h('div', { class: 'wide' });
  filter.value = choice.filter;
  fill(body, rate, hours, h('div', { class: 'tools' }, filter, kinds, pause, found), list);

  function choose(change) {
    const other = 'hour' in change && change.hour !== choice.hour;
    Object.assign(choice, change);
    keep('events', choice.filter);
    keep('from', choice.origins.size === Object.keys(ORIGINS).length ? '' : [...choice.origins].join(' '));
    if (other) use(sources());
    else draw();
  }

  /** Everything that is known, newest first. */
  function gather() {
    const { database, services, backups, status } = views;
    const kept = [...live.values(), ...(database?.data?.events ?? []).filter(({ id }) => !live.has(id))];
    const attempt = status?.data?.lastAttempt;
    // A run under way has no end yet, and one that is held is among the backups.
    const ended = attempt && !['good', 'held', 'unfinished'].includes(attempt.outcome);
    return [
      ...kept.map(ofDatabase),
      ...(services?.data ?? []).map(ofService),
      ...(backups?.data?.backups ?? []).flatMap(ofBackup),
      ...(ended ? [ofAttempt(attempt)] : []),
    ].sort((a, b) => b.time - a.time || (b.id ?? 0) - (a.id ?? 0));
  }

  function draw() {
    const { database } = views;
    fill(kinds, Object.entries(ORIGINS).map(([name, text]) => h('button', { type: 'button', 'data-key': `events of ${name}`, 'aria-pressed': String(choice.origins.has(name)), onclick: () => turn(name) }, text)));
    say(pause, choice.paused ? 'go on' : 'pause');
    pause.setAttribute('aria-pressed', String(choice.paused !== null));
    if (database?.data) {
      say(rate, perMinute(database.data));
      const open = hours.querySelector('details')?.open;
      fill(hours, byHour(database.data, choice.hour, (hour) => choose({ hour })));
      if (open) hours.querySelector('details').open = true;
    }
    const from = choice.hour ?? Date.now() - 24 * HOUR;
    const until = choice.hour === null ? Infinity : choice.hour + HOUR;
    const wanted = gather().filter(({ time, origin, text }) => time >= from && time < until && choice.origins.has(origin) && text.toLowerCase().includes(choice.filter));
    const shown = choice.paused ? wanted.filter(({ key }) => choice.paused.keys.has(key)) : wanted;
    say(found, [`${countText(Math.min(shown.length, SHOWN))} of ${countText(wanted.length)}`, wanted.length > shown.length && `${countText(wanted.length - shown.length)} new`, ...gaps(from, until)].filter(Boolean).join(' · '));
    fill(list, shown.length === 0 ? h('p', { class: 'empty' }, nothing()) : events(shown.slice(0, SHOWN)));
  }

  /** What is not in the list although it happened. */
  function gaps(from, until) {
    const { data } = views.database ?? {};
    if (!data || !choice.origins.has('database')) return [];
    const since = Date.parse(data.since);
    const oldest = Date.parse(data.events.at(-1)?.at);
    const limit = choice.hour === null ? 200 : 1000;
    return [
      Number.isFinite(since) && since > from + HOUR / 60 && since < until && `changes of the database since ${clock(since)}`,
      since >= until && 'changes of the database are no longer kept from then',
      data.events.length >= limit && oldest > from && `of the newest ${countText(limit)} changes; an hour has more`,
    ];
  }

  /** Why the list is empty. */
  function nothing() {
    const asked = [['database', views.database], ['services', views.services], ['backups', views.backups]].filter(([name]) => choice.origins.has(name));
    if (asked.some(([, view]) => view?.state === 'loading')) return '◌ loading';
    return asked.every(([, view]) => view?.data) ? '○ nothing happened, as far as is known' : '? not known: some of it could not be asked';
  }

  /** Draws once for all events that arrive before the next frame. */
  function soon() {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      draw();
    });
  }

  function turn(name) {
    const origins = new Set(choice.origins);
    if (!origins.delete(name)) origins.add(name);
    choose({ origins });
  }

  const ask = () => source('/api/db/activity').ask();
  follow('/api/db/events', {
    change: (event) => {
      live.set(event.id, event);
      // The next answer has those that are dropped here.
      for (const id of live.keys()) if (live.size > SHOWN) live.delete(id);
      if (views.database?.data) soon();
    },
    gap: () => {
      live.clear();
      ask();
    },
    back: ask,
  });
  const update = (newer) => {
    views = newer;
    // The hour that was chosen is no longer shown.
    if (choice.hour !== null && choice.hour < Date.now() - 25 * HOUR) return choose({ hour: null });
    draw();
  };
  return { sources: sources(), update };
}

function ofDatabase({ id, at, collection, operation, count, document, user, label, fields }) {
  const number = count === 1 ? '' : `${countText(count)} `;
  const verb = operation === 'dropDatabase' ? 'the database was dropped' : `${number}${OPERATIONS[operation] ?? operation} ${collection}`;
  const what = [label, user && `@${user}`, !label && document, fields.length > 0 && `(${fields.join(', ')})`].filter(Boolean).join(' ');
  return { key: `database ${id}`, id, origin: 'database', time: Date.parse(at), text: [verb, what].filter(Boolean).join(' · '), href: collection ? linkTo('collections', collection) : null, state: operation.startsWith('drop') ? 'partial' : null };
}

const ofService = ({ id, at, name, from, to, detail }) =>
  ({ key: `service ${id}`, origin: 'services', time: Date.parse(at), text: `${SHAPES[to]} ${name} is ${to}, was ${from}${detail ? `: ${detail}` : ''}`, href: linkTo('services', name), state: STATES[to] });

function ofBackup({ id, asOf, good, state, documents, bytes, drill }) {
  const href = linkTo('backups', id);
  const made = { key: `backup ${id}`, origin: 'backups', time: Date.parse(asOf), text: `${good ? '●' : '▲'} backup ${id} ${state}: ${countText(documents)} documents, ${bytesText(bytes)}`, href, state: good ? 'fresh' : 'error' };
  if (!drill) return [made];
  return [made, { key: `drill ${id} ${drill.at}`, origin: 'backups', time: Date.parse(drill.at), text: `${drill.good ? '● a drill restored' : '▲ a drill could not restore'} ${id}`, href, state: drill.good ? 'fresh' : 'error' }];
}

const ofAttempt = ({ at, outcome, error }) =>
  ({ key: `attempt ${at}`, origin: 'backups', time: Date.parse(at), text: `▲ a backup ended as ${outcome}${error ? `: ${error.detail}` : ''}`, href: '#backups', state: 'error' });

const clock = (time) => new Date(time).toLocaleTimeString('en', { hourCycle: 'h23' });

function events(rows) {
  return table('events', [
    { title: 'time', cell: ({ time }) => h('time', { datetime: new Date(time).toISOString(), 'data-clock': '', title: new Date(time).toLocaleString('en') }, clock(time)) },
    { title: 'of', cell: ({ origin }) => origin },
    { title: 'event', cell: ({ key, text, href, state }) => h('a', { class: 'status', 'data-key': key, 'data-state': state, href }, text) },
  ], rows);
}

/** Changes in the last whole minute and in the last hour. */
function perMinute({ minutes }) {
  const whole = minutes.slice(0, -1);
  const known = whole.filter((value) => value !== null);
  if (known.length === 0) return 'changes of the database a minute: not known yet';
  const sum = known.reduce((all, value) => all + value, 0);
  return `${countText(whole.at(-1))} changes of the database in the last whole minute · ${countText(sum)} in the last ${known.length} minutes · at most ${countText(Math.max(...known))} a minute`;
}

/** Changes of the database in each hour of the last day, each a button that shows the hour. */
function byHour({ from, quarters }, chosen, choose) {
  const first = Date.parse(from);
  const hours = new Map();
  /** Hours of which a part is not known. */
  const partly = new Set();
  quarters.forEach((value, at) => {
    // By the clock on the wall: some time zones are half an hour off.
    const hour = new Date(first + at * (HOUR / 4)).setMinutes(0, 0, 0);
    const before = hours.get(hour) ?? null;
    if (value === null) partly.add(hour);
    hours.set(hour, value === null ? before : (before ?? 0) + value);
  });
  const rows = [...hours].map(([hour, count]) => ({ hour, count }));
  const most = Math.max(0, ...rows.map(({ count }) => count ?? 0));
  const height = (count) => Math.max(1, (39 * count) / Math.max(1, most));
  const name = (hour) => new Date(hour).toLocaleTimeString('en', { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
  const text = ({ hour, count }) => (count === null ? 'not known' : `${partly.has(hour) ? 'at least ' : ''}${countText(count)} change${count === 1 ? '' : 's'}`);
  const bar = ({ hour, count }) => h('button', {
    type: 'button', 'data-key': `hour ${hour}`, 'aria-pressed': String(chosen === hour), 'aria-label': `${name(hour)}: ${text({ hour, count })}`,
    title: `${name(hour)}: ${text({ hour, count })}`, onclick: () => choose(chosen === hour ? null : hour),
  }, svg('svg', { 'aria-hidden': 'true', viewBox: '0 0 1 40', preserveAspectRatio: 'none' },
    svg('rect', count === null ? { class: 'unknown', x: 0, y: 39, width: 1, height: 1 } : { x: 0, y: 40 - height(count), width: 1, height: height(count) })),
  h('span', {}, name(hour).slice(0, 2)));
  const known = rows.filter(({ count }) => count !== null);
  const summary = chosen !== null ? `What happened from ${name(chosen)} to ${name(chosen + HOUR)}; press the hour again for the whole day.`
    : known.length === 0 ? 'Changes of the database by hour: not known yet.'
      : `Changes of the database by hour, at most ${countText(most)}; press an hour to see what happened in it.`;
  const twin = table('changes of the database by hour', [
    { title: 'hour', cell: ({ hour }) => new Date(hour).toLocaleString('en', { weekday: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }) },
    { title: 'changes', number: true, cell: ({ count }) => (count === null ? h('span', { class: 'unknown' }, '–') : h('data', { value: count }, countText(count))) },
    { title: 'known', cell: ({ hour, count }) => (count === null ? 'no' : partly.has(hour) ? 'partly' : 'yes') },
  ], rows.toReversed());
  return h('figure', { class: 'spark' }, h('figcaption', {}, summary), h('div', { class: 'hours', role: 'group', 'aria-label': 'hours' }, rows.map(bar)),
    h('details', {}, h('summary', { 'data-key': 'twin of hours' }, 'as a table'), h('div', { class: 'wide' }, twin)));
}
