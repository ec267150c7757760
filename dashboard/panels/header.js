// Header: version, worst freshness and oldest age of the page, and the main figures, all from one request.

import { box, fill, h, path, say, svg } from '../lib/dom.js';
import { ageText, ago, bytes, bytesText, count, countText, percent, percentText } from '../lib/format.js';
import { refreshAll, source, worst } from '../lib/source.js';
import { showState } from '../lib/state.js';
import * as problemList from './problems.js';

let overall;
let announced = '';

export function mount(body) {
  const boxes = body.querySelector('.boxes');
  overall = body.querySelector('.overall .state');
  const again = h('button', { type: 'button', class: 'again', title: 'ask every service now', onclick: () => refreshAll() }, 'refresh');
  overall.after(again);
  // After the figures have been asked for.
  queueMicrotask(showVersion);
  const list = body.querySelector('.problems');
  const sources = { overview: source('/api/overview'), history: source('/api/db/history?categories=false'), ...problemList.sources() };
  const update = ({ overview, history, ...views }) => {
    fill(boxes, figures(overview, history.data));
    problemList.show(list, views);
  };
  return { sources, update };
}

/** Ten boxes, which lead to their panels. A part that a service could not deliver is marked as stale with its age, or is a dash. */
function figures({ data, state }, history) {
  const { users, collections, database, disk, keeps, storage, services, backup } = data ?? {};
  const total = collections?.total;
  const part = (panel, name, value, note, known, past) => {
    const element = box(name, value, known ? note(known) : '', shown(known, state), `#${panel}`);
    element.append(past && history ? week(history[past]) : '');
    if (known?.asOf) element.title = `as of ${new Date(known.asOf).toLocaleString('en')}`;
    return element;
  };
  return [
    part('collections', 'documents', count(total?.documents), () => `in ${countText(total.collections)} collections`, collections, 'documents'),
    part('collections', 'database', bytes(total?.dataBytes), ({ disposable }) => `${percentText(disposable.shareOfDataBytes)} disposable`, collections, 'dataBytes'),
    part('collections', 'users', count(users?.users), () => `${countText(users.new.last7Days)} new in 7 days`, users, 'users'),
    part('collections', 'handles', count(users?.handles), () => `${countText(users.withoutHandle)} users without`, users),
    part('kidlisp', 'keeps', count(keeps?.kept), () => `${countText(keeps.pending)} pending, ${countText(keeps.failed)} failed`, keeps),
    part('database', 'mongod', database?.status ?? '–', () => (database.uptimeSeconds ? `${database.version}, up ${ageText(database.uptimeSeconds)}` : ''), database),
    part('database', 'disk used', percent(disk?.usedShare), filling, disk, 'diskUsedBytes'),
    part('storage', 'spaces', bytes(storage?.bytes), scanned, storage),
    part('services', 'services up', up(services), troubled, services),
    // If the prober does not collect backup status, show neither a status nor 'missing'.
    data && !backup && !data.missing?.includes('backup')
      ? box('last good backup', h('span', { class: 'unknown' }, '▢ not set up'), '', 'not set up', '#backups')
      : part('backups', 'last good backup', backup ? lastGood(backup) : count(null), backedUp, backup),
  ];
}

/** The course of a week, which the History panel has in full; nothing before there are two samples. */
function week(values) {
  const known = values.filter((value) => value !== null);
  if (known.length < 2) return '';
  const [least, most] = [Math.min(...known), Math.max(...known)];
  const height = (value) => (most > least ? 19 - (18 * (value - least)) / (most - least) : 10);
  return svg('svg', { class: 'week', viewBox: `0 0 ${values.length - 1} 20`, preserveAspectRatio: 'none', 'aria-hidden': 'true' }, svg('path', { d: path(values, height) }));
}

/** Freshness of a part: as its service reports, unless the request itself failed. */
function shown(part, state) {
  if (!part) return state === 'loading' ? 'loading' : 'error';
  if (['stale', 'error'].includes(state)) return state;
  return part.state === 'fresh' ? trouble(part) : part.state;
}

/** Marks fresh data that reports a bad status. */
function trouble({ status, down, degraded, unknown, overdue, problems, usedShare, daysUntilFull }) {
  if (status === 'down' || down > 0 || overdue || usedShare >= 0.9 || (daysUntilFull ?? Infinity) < 7) return 'error';
  return status === 'degraded' || degraded > 0 || unknown > 0 || problems > 0 ? 'partial' : 'fresh';
}

const up = (services) => (services ? h('data', { value: services.up }, `${countText(services.up)} of ${countText(services.total)}`) : count(null));

/** Services that are not up, by status. */
function troubled(services) {
  const words = ['down', 'degraded', 'unknown'].filter((word) => services[word] > 0).map((word) => `${countText(services[word])} ${word}`);
  return words.join(', ');
}

/** When the disk will be full, if it goes on growing as in the last week. */
function filling({ freeBytes, daysUntilFull }) {
  const days = daysUntilFull === null ? '' : `, full in ${countText(Math.round(daysUntilFull))} days at the last week's pace`;
  return `${bytesText(freeBytes)} free${days}`;
}

/** Age of the newest good backup; 'none' is not the same as unknown. */
const lastGood = (backup) => (backup.lastGood ? ago(backup.lastGood.asOf) : '▲ none yet');

/** Problems of backups, or contents of the last one. */
function backedUp({ lastGood: good, overdue, problems }) {
  const wrong = [overdue && good && '▲ too old', problems > 0 && `▲ ${countText(problems)} problem${problems === 1 ? '' : 's'}`].filter(Boolean);
  return wrong.length > 0 || !good ? wrong.join(', ') : `${countText(good.documents)} documents, ${bytesText(good.bytes)}`;
}

/** How much of storage is known, or how far the scan is. */
function scanned({ objects, knownBytes, scan }) {
  if (scan.scanning && objects === null) return `${countText(scan.objects)} objects counted`;
  return objects === null ? `at least ${bytesText(knownBytes)}` : `${countText(objects)} objects`;
}

/** Which build answers; asked once, because a page outlives no deployment for long. */
async function showVersion() {
  try {
    const answer = await fetch('/version', { signal: AbortSignal.timeout(8000) });
    const { version, sha, dirty } = await answer.json();
    // The gateway says whether one can sign out.
    const signOut = answer.headers.get('X-Silo-Sign-Out');
    const stamp = [`v${version}`, sha?.slice(0, 7), dirty && 'with changes'].filter(Boolean).join(' · ');
    document.getElementById('footer').replaceChildren(h('span', { title: sha ?? 'the commit is not known' }, `silo ${stamp}`), ' · api: ',
      ...['db', 'storage', 'services', 'backup'].flatMap((name) => [h('a', { href: `/api/${name}/openapi.json` }, name), ' ']),
      '· ', h('a', { href: '/db/' }, 'mongo-express'), ' · ', h('a', { href: '/runbook' }, 'runbook'), ...(signOut ? [' · ', h('a', { href: signOut }, 'sign out')] : []), ' · ? for shortcuts');
  } catch {
    document.getElementById('footer').replaceChildren('silo · version not known');
  }
}

/** Every second: the worst state and the oldest age of all sources; a change of state is announced once. */
export function tick(sources) {
  const { state, age } = worst(sources);
  const view = { state, age: oldest(age) };
  showState(overall, view);
  const word = view.state === 'refreshing' ? announced : view.state;
  if (word !== announced && word !== 'loading') {
    if (announced !== '' || word !== 'fresh') say(document.getElementById('announcement'), `silo is ${word}`);
    announced = word;
  }
  const wrong = problems(source('/api/overview').data ?? undefined);
  const words = wrong.length > 0 ? wrong : ['stale', 'error'].includes(view.state) ? [view.state] : [];
  document.title = [...words, 'silo'].join(' · ');
  icon(wrong.length > 0);
}

/** What is wrong, in a word each, for the title of the tab. */
function problems({ database, services, backup } = {}) {
  return [
    database?.status === 'down' && 'mongod down',
    services?.down > 0 && `${countText(services.down)} down`,
    backup?.overdue && 'backup too old',
    backup?.problems > 0 && 'problems of backups',
  ].filter(Boolean);
}

/** The icon of the tab, with a red mark while something is wrong. */
function icon(marked) {
  const link = document.querySelector('link[rel="icon"]');
  link.dataset.plain ??= link.href;
  const mark = '%3Ccircle cx=\'12\' cy=\'4\' r=\'4\' fill=\'%23ff3b30\'/%3E%3C/svg%3E';
  const href = marked ? link.dataset.plain.replace('%3C/svg%3E', mark) : link.dataset.plain;
  if (link.href !== href) link.href = href;
}

/** The parts of the overview have ages of their own. */
function oldest(age) {
  const parts = Object.values(source('/api/overview').data ?? {});
  const times = parts.map((part) => Date.parse(part?.asOf)).filter(Number.isFinite);
  return times.length > 0 ? Math.max(age ?? 0, (Date.now() - Math.min(...times)) / 1000) : age;
}
