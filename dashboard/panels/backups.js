// Backups: the last good one, what is next, what is wrong, all there are; and one more or a drill, on request, watched as it goes on.

import { sparkline } from '../lib/charts.js';
import { box, fill, h, table } from '../lib/dom.js';
import { ageText, ago, bytes, bytesText, count, countText } from '../lib/format.js';
import { source } from '../lib/source.js';

/** How many backups the table shows before one asks for all. */
const SHOWN = 12;
/** One shape for each state of a backup. */
const SHAPES = { verified: '●', accepted: '◐', held: '▲' };
/** What can be asked for here. */
const WORK = {
  run: { path: '/api/backup/run', button: 'back up now', sure: 'yes, back up now', what: 'a backup' },
  drill: { path: '/api/backup/drill', button: 'drill now', sure: 'yes, drill now', what: 'a drill: the newest good backup is restored into a scratch database, compared, and dropped' },
};

export function mount(body) {
  const sources = { status: source('/api/backup/status'), backups: source('/api/backup/backups') };
  const figures = h('div', { class: 'boxes' });
  const troubles = h('ul', { class: 'reasons', hidden: true });
  const actions = h('div', { class: 'scan' });
  const told = h('p', { class: 'told', role: 'status' });
  const list = h('div', {});
  fill(body, figures, troubles, actions, told, list);
  const job = follow(actions, told, () => {
    sources.status.ask();
    sources.backups.ask();
  });
  let last = null;
  let listed = null;
  const update = ({ status: { data }, backups: { data: all } }) => {
    if (data && data !== last) {
      last = data;
      fill(figures, boxes(data));
      showTroubles(troubles, data);
      job.found(data.running);
    }
    if (all && all !== listed) {
      listed = all;
      const open = [...list.querySelectorAll('details[open] > summary')].map(({ dataset }) => dataset.key);
      fill(list, all.backups.length === 0 ? h('p', { class: 'empty' }, '○ no backups yet') : [trend(all.backups), backups(all)]);
      for (const key of open) {
        const summary = list.querySelector(`[data-key="${CSS.escape(key)}"]`);
        if (summary) summary.parentElement.open = true;
      }
    }
  };
  return { sources, update };
}

function boxes({ lastGood, lastAttempt, lastDrill, overdue, drillOverdue, nextRun, destinations }) {
  const late = overdue ? '▲ too old · ' : '';
  const good = lastGood
    ? box('last good', ago(lastGood.asOf), `${late}${countText(lastGood.documents)} documents, ${bytesText(lastGood.bytes)}`, overdue ? 'error' : 'fresh')
    : box('last good', h('span', { class: 'unknown' }, '–'), '▲ there is none yet', 'error');
  const outcome = lastAttempt && { good: '● good', held: '▲ held', failed: '▲ failed' }[lastAttempt.outcome];
  const run = lastAttempt
    ? box('last run', outcome, [ago(lastAttempt.at), lastAttempt.error && `: ${lastAttempt.error.detail}`], lastAttempt.outcome === 'good' ? 'fresh' : 'error')
    : box('last run', h('span', { class: 'unknown' }, '–'), 'none yet');
  const drill = lastDrill
    ? box('last drill', lastDrill.good ? '● came back' : '▲ failed', [ago(lastDrill.at), `, in ${ageText(lastDrill.tookMs / 1000)}`, drillOverdue ? ' · ▲ long ago' : ''], lastDrill.good && !drillOverdue ? 'fresh' : 'error')
    : box('last drill', h('span', { class: 'unknown' }, '–'), drillOverdue === null ? 'no drills are made' : 'none yet');
  const places = destinations.map(({ name, backups: held, bytes: size, lastGood: newest }) => box(name, count(held),
    held === null ? 'cannot be looked into' : [`backups, ${bytesText(size)}`, newest ? ', last good ' : '', newest && ago(newest)], held === null ? 'error' : 'fresh'));
  return [good, box('next run', ago(nextRun), 'by the schedule'), run, drill, ...places];
}

/** What has vanished, and who could not be told. */
function showTroubles(element, { problems, alerts }) {
  const lines = problems.map((problem) => h('li', {}, h('span', { class: 'where' }, '▲ problem'), ` ${problem}`));
  if (alerts.notTold) lines.push(h('li', {}, h('span', { class: 'where' }, `▲ nobody was told by ${alerts.notTold.way}`), ` ${alerts.notTold.why} · `, ago(alerts.notTold.at)));
  if (!alerts.setUp) lines.push(h('li', {}, h('span', { class: 'where' }, '▢ alerts'), ' not set up: nobody is told when a backup fails'));
  element.hidden = lines.length === 0;
  fill(element, lines);
}

function trend(all) {
  const oldest = all.toReversed();
  const sizes = oldest.map((backup) => backup.bytes);
  const twin = table('stored bytes of backups', [{ title: 'backup', cell: ({ asOf }) => new Date(asOf).toLocaleString('en') }, { title: 'stored', number: true, cell: (backup) => bytes(backup.bytes) }], all);
  const summary = `${countText(all.length)} backups, from ${bytesText(Math.min(...sizes))} to ${bytesText(Math.max(...sizes))} stored, the newest ${bytesText(sizes.at(-1))}.`;
  return h('div', { class: 'chart' }, sparkline(summary, sizes, twin));
}

function backups({ total, backups: all }) {
  const rows = all.slice(0, SHOWN);
  const columns = [
    { title: 'as of', cell: ({ asOf }) => ago(asOf) },
    { title: 'state', cell: ({ state }) => h('span', { class: 'status', 'data-state': { verified: 'fresh', accepted: 'fresh', held: 'error' }[state] }, `${SHAPES[state]} ${state}`) },
    { title: 'drilled', cell: ({ drill }) => (drill ? (drill.good ? '● yes' : '▲ failed') : '–') },
    { title: 'documents', number: true, cell: ({ documents }) => count(documents) },
    { title: 'stored', number: true, cell: (backup) => bytes(backup.bytes) },
    { title: 'where', cell: ({ destinations }) => destinations.join(', ') },
    { title: 'kept because', cell: ({ kept, why }) => `${kept ? '' : 'goes: '}${why[0] ?? ''}` },
  ];
  const more = rows.map((backup) => h('details', {}, h('summary', { 'data-key': `backup ${backup.id}` }, backup.id), details(backup)));
  const left = total > rows.length ? h('p', { class: 'facts' }, `and ${countText(total - rows.length)} older ones; silo-backup list shows all`) : null;
  return h('div', {}, h('div', { class: 'wide' }, table('backups', columns, rows)), left, h('h3', {}, 'each of them'), h('div', { class: 'each-backup' }, more));
}

function details({ sha256, verifiedAt, verification, engine, consistency, compression, encrypted, dataBytes, collections, held, trouble, drill, why }) {
  const how = verification === 'decoded' ? 'read back whole, as a restore would' : 'read back byte for byte; it is encrypted and the private key is not here';
  const row = (name, ...value) => [h('dt', {}, name), h('dd', {}, ...value)];
  return h('dl', { class: 'facts-of' },
    row('sha-256', h('code', {}, sha256)),
    row('verified', ago(verifiedAt), ` · ${how}`),
    row('read by', `${engine}, ${consistency === 'snapshot' ? 'one moment of the database' : 'fuzzy: others may have written meanwhile'}`),
    row('archive', `${compression}${encrypted ? ', encrypted with age' : ', not encrypted'}; ${countText(collections)} collections, ${bytesText(dataBytes)} of data`),
    row('kept', why.join('; ')),
    drill && row('drill', ago(drill.at), ` · ${drill.good ? 'came back' : 'failed'} in ${ageText(drill.tookMs / 1000)}`, drill.notes.map((note) => ` · ${note}`)),
    held.length > 0 && row('held', held.join('; ')),
    trouble.length > 0 && row('trouble', trouble.join('; ')));
}

/** Asks for work, once somebody is sure, and shows how it goes on. */
function follow(actions, told, ended) {
  let watched = null;

  function offer() {
    fill(actions, Object.entries(WORK).map(([kind, { button }]) => h('button', { type: 'button', 'data-key': kind, onclick: () => confirm(kind) }, button)));
  }

  function confirm(kind) {
    const { what, sure } = WORK[kind];
    fill(actions, h('span', {}, `make ${what}?`),
      h('button', { type: 'button', 'data-key': 'sure', onclick: () => begin(kind) }, sure), h('button', { type: 'button', 'data-key': 'no', onclick: offer }, 'no'));
    actions.querySelector('[data-key="sure"]').focus();
  }

  async function begin(kind) {
    fill(actions, h('span', {}, 'asking…'));
    try {
      const answer = await fetch(WORK[kind].path, { method: 'POST', signal: AbortSignal.timeout(8000) });
      const said = await answer.json();
      if (answer.ok) {
        told.textContent = '';
        return watch(said);
      }
      told.textContent = said.detail ?? `refused with ${answer.status}`;
    } catch (error) {
      told.textContent = `could not be asked: ${error.message}`;
    }
    offer();
  }

  function watch({ id }) {
    if (watched?.id === id) return;
    watched?.events.close();
    const events = new EventSource(`/api/backup/jobs/${id}/events`);
    watched = { id, events };
    const end = (text) => {
      events.close();
      watched = null;
      told.textContent = text;
      offer();
      ended();
    };
    events.addEventListener('progress', ({ data }) => show(JSON.parse(data)));
    events.addEventListener('ended', ({ data }) => end(outcome(JSON.parse(data))));
    events.addEventListener('end', () => end('silo-backup stopped while this was under way'));
    // Tried again by itself, until the service says that it knows no such job.
    events.addEventListener('error', () => events.readyState === EventSource.CLOSED && end('how it goes on is not known any more'));
  }

  function show({ kind, progress: { phase, collection, done, total, unit } }) {
    const far = total ? `${countText(Math.min(done, total))} of ${countText(total)} ${unit}` : '';
    fill(actions, h('span', {}, kind === 'run' ? 'backing up' : kind === 'drill' ? 'drilling' : 'pruning'), h('span', { class: 'phase' }, phase),
      h('progress', { max: total ?? 1, value: total ? Math.min(done, total) : null, 'aria-label': phase }), h('span', { class: 'facts' }, [far, collection].filter(Boolean).join(' · ')));
  }

  offer();
  return { found: (running) => running && watch(running) };
}

function outcome({ kind, state, made, drilled, error }) {
  if (error) return `▲ failed: ${error.detail}`;
  if (state === 'held') return `▲ held: ${made.held.join('; ')}`;
  if (made) return `● a backup of ${countText(made.documents)} documents was made and read back`;
  if (drilled) return drilled.good ? `● ${countText(drilled.documents)} documents came back` : `▲ it does not restore: ${drilled.notes.join('; ')}`;
  return `● ${kind} is done`;
}
