// Backups panel: last good backup, next run, problems, list of backups; and buttons for a backup or a drill, with progress.

import { keep, keptList, linkTo } from '../lib/address.js';
import { sparkline } from '../lib/charts.js';
import { box, copyButton, fill, h, table } from '../lib/dom.js';
import { ageText, ago, bytes, bytesText, count, countText } from '../lib/format.js';
import { source } from '../lib/source.js';
import * as continuous from './moments.js';

/** How many backups are shown before one asks for more. */
const SHOWN = 12;
/** One shape for each state of a backup. */
const SHAPES = { verified: '●', accepted: '◐', held: '▲' };
/** What each is among the states of the page. */
const STATES = { verified: 'fresh', accepted: 'partial', held: 'error' };
/** What can be asked for here. */
const WORK = {
  run: { path: '/api/backup/run', button: 'back up now', question: 'back up the database now?', noun: 'a backup' },
  drill: { path: '/api/backup/drill', button: 'drill now', question: 'restore the newest good backup into a scratch database, compare it, and drop it?', noun: 'a drill' },
};

export function mount(body) {
  const sources = { status: source('/api/backup/status'), backups: source('/api/backup/backups'), continuous: source('/api/backup/continuous') };
  const figures = h('div', { class: 'boxes' });
  const wrong = h('ul', { class: 'reasons wrong', hidden: true });
  const actions = h('div', { class: 'scan', tabindex: -1 });
  const notice = h('p', { class: 'notice', role: 'status' });
  const list = h('div', { class: 'all-backups' });
  const upcoming = h('p', { class: 'facts' });
  const moments = h('div', { class: 'moments' });
  fill(body, figures, moments, upcoming, wrong, actions, notice, list);
  const work = follow(actions, notice, () => {
    sources.status.ask();
    sources.backups.ask();
  });

  const drawn = {};
  let every = false;
  const opened = new Set(keptList('backups'));
  /** The backup that the address names, until it is shown. */
  let wanted = null;

  /** Opens the details of a backup, and brings them into view. */
  function reveal(id) {
    wanted = id;
    if (drawn.backups) drawList(drawn.backups);
  }

  function drawList({ total, backups }) {
    const open = [...list.querySelectorAll('.chart details[open] > summary')].map(({ dataset }) => dataset.key);
    if (wanted && backups.some(({ id }) => id === wanted)) opened.add(wanted);
    if (backups.slice(SHOWN).some(({ id }) => id === wanted)) every = true;
    keep('backups', [...opened]);
    const rows = every ? backups : backups.slice(0, SHOWN);
    const more = () => {
      every = !every;
      drawList(drawn.backups);
    };
    fill(list, backups.length === 0 ? h('p', { class: 'empty' }, '○ no backups yet') : [
      backupTable(rows),
      backups.length > SHOWN && h('button', { type: 'button', class: 'more', 'data-key': 'more backups', onclick: more }, every ? `show the newest ${SHOWN}` : `show all ${countText(backups.length)}`),
      total > backups.length && h('p', { class: 'facts' }, `${countText(total - backups.length)} older ones are not listed here; silo-backup list has them`),
      h('div', { class: 'each-backup' }, rows.map((backup) => backupDetails(backup, drawn.status?.database, opened))),
      trends(backups),
    ]);
    for (const key of open) {
      const summary = list.querySelector(`[data-key="${CSS.escape(key)}"]`);
      if (summary) summary.parentElement.open = true;
    }
    const summary = wanted && list.querySelector(`[data-key="${CSS.escape(`backup ${wanted}`)}"]`);
    if (!summary) return;
    wanted = null;
    summary.scrollIntoView({ block: 'center' });
    summary.focus({ preventScroll: true });
  }

  /** Boxes of the status, and those of continuous backup after them. */
  function drawFigures() {
    const { status, continuous: now } = drawn;
    fill(figures, status && boxes(status), now && continuous.boxes(now, status?.lastProof));
    fill(moments, now && continuous.moments(now, drawn.backups?.backups));
  }

  const update = ({ status, backups, continuous: now }) => {
    if (status.data && status.data !== drawn.status) {
      const first = !drawn.status && drawn.backups;
      drawn.status = status.data;
      // The command for a restore has the name of the database.
      if (first) drawList(drawn.backups);
      fill(upcoming, soon(status.data));
      drawFigures();
      const lines = openProblems(status.data);
      wrong.hidden = lines.length === 0;
      fill(wrong, lines);
      work.found(status.data.running);
    }
    if (now.data && now.data !== drawn.continuous) {
      drawn.continuous = now.data;
      drawFigures();
    }
    if (backups.data && backups.data !== drawn.backups) {
      drawn.backups = backups.data;
      drawList(backups.data);
      drawFigures();
    }
  };
  return { sources, update, reveal };
}

/** Backups and drills of the next 24 hours. */
function soon({ upcoming }) {
  if (upcoming.length === 0) return 'nothing is scheduled within 24 hours';
  const shown = upcoming.slice(0, 6).map(({ kind, at }) => h('span', {}, `${{ run: 'backup', drill: 'drill' }[kind] ?? kind} `, ago(at), ` at ${new Date(at).toLocaleTimeString('en', { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })}`));
  return ['within 24 hours: ', ...shown.flatMap((each, index) => (index > 0 ? [', ', each] : [each])), upcoming.length > 6 && ` and ${countText(upcoming.length - 6)} more`];
}

/** A job in words; pruning and verification are started by the schedule only. */
const noun = (kind) => WORK[kind]?.noun ?? { prune: 'pruning', verify: 'a verification', prove: 'a proof of the changes' }[kind] ?? kind;
const unknown = () => h('span', { class: 'unknown', title: 'not known' }, '–');
const some = (number, word) => `${countText(number)} ${word}${number === 1 ? '' : 's'}`;
/** Less than one second is not nothing. */
const took = (ms) => (ms < 1000 ? 'less than 1 s' : ageText(ms / 1000));

function boxes({ lastGood, lastAttempt, lastDrill, overdue, drillOverdue, oldestAllowedSeconds, nextRun, recovery, destinations }) {
  return [
    lastGood
      ? box('last good', ago(lastGood.asOf), [overdue && `▲ too old, at most ${ageText(oldestAllowedSeconds)} are allowed · `, `${some(lastGood.documents, 'document')}, ${bytesText(lastGood.bytes)}`].filter(Boolean).join(''), overdue ? 'error' : 'fresh')
      : box('last good', '▲ none yet', 'nothing could be restored', 'error'),
    box('next run', ago(nextRun), nextRun ? 'by the schedule' : 'not known yet'),
    lastRun(lastAttempt),
    lastDrillBox(lastDrill, drillOverdue),
    recoveryBox(recovery),
    ...destinations.map(destination),
  ];
}

function lastRun(attempt) {
  if (!attempt) return box('last run', unknown(), 'no run recorded');
  const { at, outcome, error, failures } = attempt;
  const value = { good: '● good', held: '▲ held', failed: '▲ failed', stopped: '○ stopped', unfinished: '◍ not ended' }[outcome] ?? `? ${outcome}`;
  const note = h('span', {}, ago(at), error && `: ${error.detail}`, failures > 1 && ` · ${countText(failures)} in a row`);
  return box('last run', value, note, outcome === 'good' ? 'fresh' : 'error');
}

function recoveryBox({ lastDrilled, estimatedRestoreSeconds, keyAvailable }) {
  if (lastDrilled === null) return box('recovery', '○ not proven', 'no drill has restored a good backup yet');
  const key = { true: ' · the private key is here', false: ' · ▲ the private key is not here' }[keyAvailable] ?? '';
  const estimate = estimatedRestoreSeconds === null ? unknown() : `about ${ageText(Math.max(1, estimatedRestoreSeconds))}`;
  return box('recovery', h('span', {}, estimate), h('span', {}, 'to restore; proven with data of ', ago(lastDrilled), key));
}

function lastDrillBox(drill, overdue) {
  if (!drill) return box('last drill', overdue === null ? '▢ not set up' : overdue ? '▲ none yet' : '○ none yet', 'test restore of a backup', overdue ? 'error' : null);
  const note = h('span', {}, overdue && '▲ too long ago · ', ago(drill.at), `, took ${took(drill.durationMs)}, of ${drill.id}`);
  const momentFailed = drill.moment?.good === false;
  const result = !drill.good ? '▲ FAILED' : momentFailed ? '▲ a moment FAILED' : '● good';
  return box('last drill', result, note, drill.good && !momentFailed && !overdue ? 'fresh' : 'error');
}

function destination({ name, backups, bytes: size, lastGood }) {
  if (backups === null) return box(`in ${name}`, unknown(), '▲ cannot be read', 'error');
  const note = h('span', {}, `${bytesText(size)}, last good `, lastGood ? ago(lastGood) : '▲ none');
  return box(`in ${name}`, h('data', { value: backups }, some(backups, 'backup')), note, lastGood ? 'fresh' : 'error');
}

/** Problems with stored backups. */
function openProblems({ problems, alerts }) {
  const line = (what, ...text) => h('li', {}, h('span', { class: 'where' }, what), ' ', ...text);
  return [
    ...problems.map((problem) => line('▲ problem', problem)),
    !alerts.setUp && line('▢ alerts not set up', 'a failed backup sends no alert'),
  ].filter(Boolean);
}

const shape = (state) => `${SHAPES[state] ?? '?'} ${state}`;
const reason = ({ kept: stays, reasons }) => `${stays ? '' : 'will be deleted: '}${reasons[0] ?? '–'}`;

function backupTable(rows) {
  const columns = [
    { title: 'as of', cell: ({ asOf }) => ago(asOf) },
    { title: 'state', cell: ({ state }) => h('span', { class: 'status', 'data-state': STATES[state] ?? 'unknown' }, shape(state)) },
    { title: 'drilled', cell: ({ drill }) => (drill ? h('span', { class: 'status', 'data-state': drill.good ? 'fresh' : 'error' }, drill.good ? '● good' : '▲ FAILED') : 'not yet') },
    { title: 'documents', number: true, cell: ({ documents }) => count(documents) },
    { title: 'stored', number: true, cell: ({ bytes: stored }) => bytes(stored) },
    { title: 'consistency', cell: ({ consistency }) => consistency },
    { title: 'encrypted', cell: ({ encrypted }) => (encrypted ? 'yes' : 'no') },
    { title: 'where', cell: ({ destinations }) => destinations.join(', ') },
    { title: 'retention', cell: reason },
  ];
  return h('div', { class: 'wide', tabindex: 0, role: 'group', 'aria-label': 'backups' }, table('backups, the newest first', columns, rows));
}

/** What does not fit into a row of the table. */
function backupDetails(backup, database, opened) {
  const { id, durationMs, asOf, state, sha256, verifiedAt, verification, consistency, compression, encrypted, dataBytes, collections, destinations, held, problems, notes, drill, proof, reasons, kept: stays } = backup;
  const how = verification === 'decoded' ? 'decoded: read back completely, like a restore' : `${verification}: checksum verified; the private key is not available`;
  const row = (name, ...value) => [h('dt', {}, name), h('dd', {}, ...value)];
  // As in the runbook, "Restore last night": into a new database.
  const restore = `silo-backup restore ${id} --to-file /run/secrets/mongo_restore --database ${database ?? 'aesthetic'}_back`;
  const noteOpen = ({ target }) => {
    if (target.open) opened.add(id);
    else opened.delete(id);
    keep('backups', [...opened]);
  };
  return h('details', { 'data-state': STATES[state] ?? 'unknown', open: opened.has(id), ontoggle: noteOpen },
    h('summary', { 'data-key': `backup ${id}` }, `${SHAPES[state] ?? '?'} ${id}`),
    h('dl', { class: 'facts-of' },
      row('id', h('code', {}, id), ' ', copyButton(() => new URL(linkTo('backups', id), location.origin).href, 'copy a link', `link to ${id}`)),
      row('restore', h('code', {}, restore), ' ', copyButton(restore, 'copy', `restore of ${id}`), ' ', h('a', { href: '/runbook#restore-last-night' }, 'what to do')),
      row('sha-256', h('code', {}, sha256), ' ', copyButton(sha256, 'copy', `sha-256 of ${id}`)),
      row('as of', new Date(asOf).toLocaleString('en')),
      row('verified', ago(verifiedAt), ` · ${how}; the backup took ${took(durationMs)}`),
      row('consistency', consistency === 'snapshot' ? 'all documents of one time' : 'fuzzy: others may have written during the dump'),
      row('archive', `${compression}, ${encrypted ? 'encrypted' : 'not encrypted'}; ${some(collections, 'collection')}, ${bytesText(dataBytes)} of documents`),
      row('where', destinations.join(', ') || 'nowhere'),
      row(stays ? 'kept' : 'will be deleted', reasons.join('; ') || '–'),
      drill && row('drill', ago(drill.at), ` · ${drill.good ? '● good' : '▲ FAILED'}, took ${took(drill.durationMs)}`, drill.notes.map((note) => ` · ${note}`)),
      drill?.moment && row('moment', new Date(drill.moment.moment).toLocaleString('en'), ` · ${drill.moment.good ? '● restored from storage' : '▲ FAILED'}, took ${took(drill.moment.durationMs)}`, drill.moment.notes.map((note) => ` · ${note}`)),
      proof && row('changes before', `${continuous.PROOFS[proof.result] ?? proof.result}`, proof.notes.map((note) => ` · ${note}`)),
      notes.length > 0 && row('notes', notes.join('; ')),
      held.length > 0 && row('held', `▲ ${held.join('; ')}`),
      problems.length > 0 && row('problems', `▲ ${problems.join('; ')}`)));
}

function trends(backups) {
  // A single value is no trend.
  if (backups.length < 2) return h('p', { class: 'facts' }, `1 backup: ${bytesText(backups[0].bytes)} stored, took ${took(backups[0].durationMs)}`);
  return h('div', { class: 'charts' }, trend(backups), durations(backups));
}

function durations(backups) {
  const values = backups.map(({ durationMs }) => durationMs / 1000).toReversed();
  const twin = table('duration of backups', [
    { title: 'as of', cell: ({ asOf }) => new Date(asOf).toLocaleString('en', { dateStyle: 'short', timeStyle: 'short' }) },
    { title: 'seconds', number: true, cell: ({ durationMs }) => h('data', { value: durationMs / 1000 }, (durationMs / 1000).toFixed(1)) },
  ], backups);
  const summary = `took from ${took(1000 * Math.min(...values))} to ${took(1000 * Math.max(...values))}, the newest ${took(1000 * values.at(-1))}`;
  return h('div', { class: 'chart' }, sparkline(summary, values, twin));
}

function trend(backups) {
  const sizes = backups.map(({ bytes: stored }) => stored).toReversed();
  const twin = table('stored bytes of backups', [
    { title: 'as of', cell: ({ asOf }) => new Date(asOf).toLocaleString('en', { dateStyle: 'short', timeStyle: 'short' }) },
    { title: 'stored', number: true, cell: ({ bytes: stored }) => bytes(stored) },
  ], backups);
  const [least, most] = [Math.min(...sizes), Math.max(...sizes)];
  const range = least === most ? `${bytesText(most)} stored` : `from ${bytesText(least)} to ${bytesText(most)} stored, the newest ${bytesText(sizes.at(-1))}`;
  return h('div', { class: 'chart' }, sparkline(`${some(sizes.length, 'backup')}: ${range}.`, sizes, twin));
}

/** Starts jobs after confirmation, and shows the progress of running jobs, whoever started them. */
function follow(actions, notice, look) {
  let watched = null;
  let over = null;

  /** Keeps the focus here when the buttons are replaced. */
  function put(children, key) {
    const here = actions.contains(document.activeElement);
    fill(actions, children);
    if (!here || (actions !== document.activeElement && actions.contains(document.activeElement))) return;
    (actions.querySelector(key ? `[data-key="${key}"]` : 'button') ?? actions).focus({ preventScroll: true });
  }

  function notify(text, state = 'unknown') {
    notice.dataset.state = state;
    notice.textContent = text;
  }

  const offer = (key) => put(Object.entries(WORK).map(([kind, { button }]) => h('button', { type: 'button', 'data-key': kind, onclick: () => confirm(kind) }, button)), key);

  function confirm(kind) {
    const { button, question } = WORK[kind];
    notify('');
    put([h('span', {}, question),
      h('button', { type: 'button', 'data-key': 'sure', onclick: () => begin(kind) }, `yes, ${button}`),
      h('button', { type: 'button', 'data-key': 'no', onclick: () => offer(kind) }, 'no')]);
  }

  async function begin(kind) {
    put([h('span', { class: 'facts' }, '◌ asking')]);
    try {
      const answer = await fetch(WORK[kind].path, { method: 'POST', signal: AbortSignal.timeout(8000) });
      const body = await answer.json().catch(() => null);
      if (answer.status === 202) return watch(body);
      notify(`▲ ${body?.detail ?? `status ${answer.status} without a reason`}`);
      // The conflict may be a running job, whose progress can be shown.
      if (answer.status === 409) look();
    } catch (error) {
      notify(`▲ ${error.name === 'TimeoutError' ? 'no answer within 8 s' : 'the gateway cannot be reached'}`);
    }
    offer(kind);
  }

  function watch(job) {
    // An answer from just before the job's end may still contain it.
    if (job.id === watched?.id || job.id === over) return;
    watched?.stream?.close();
    const bar = h('progress', { 'aria-label': `${noun(job.kind)}, progress` });
    const phase = h('span', { class: 'phase' });
    const facts = h('span', { class: 'facts' });
    watched = { id: job.id, isAsked: Boolean(WORK[job.kind]), stream: null, show: (now) => show(now, phase, bar, facts) };
    watched.show(job);
    put([phase, bar, facts]);
    // What the schedule does after a backup does not hide how the backup ended.
    if (WORK[job.kind]) notify(`◍ ${noun(job.kind)} is running, started by ${job.askedBy}`);
    if (!document.hidden) open();
  }

  function open() {
    const { id, show: draw } = watched;
    const stream = new EventSource(`/api/backup/jobs/${encodeURIComponent(id)}/events`);
    watched.stream = stream;
    stream.addEventListener('progress', ({ data }) => draw(JSON.parse(data)));
    stream.addEventListener('ended', ({ data }) => {
      over = id;
      end(stream, ...outcome(JSON.parse(data)));
      look();
    });
    stream.addEventListener('end', () => end(stream, '? silo-backup stopped while this was under way'));
    // The browser reconnects after an interruption, but not after a refusal. If the job still runs, the next status shows it.
    stream.addEventListener('error', () => stream.readyState === EventSource.CLOSED && end(stream, '? progress unknown'));
  }

  function end(stream, text, state) {
    stream.close();
    if (watched?.stream !== stream) return;
    const { isAsked } = watched;
    watched = null;
    if (isAsked || state === 'error') notify(text, state);
    offer();
  }

  document.addEventListener('visibilitychange', () => {
    if (!watched) return;
    watched.stream?.close();
    if (!document.hidden) open();
  });
  offer();
  return { found: (running) => running && watch(running) };
}

function show({ kind, progress: { phase: at, collection, done, total, unit } }, phase, bar, facts) {
  const text = unit === 'bytes' ? bytesText : countText;
  const far = total === null ? `${text(done)}${unit === 'bytes' ? '' : ` ${unit}`}` : `${text(done)} of ${text(total)}${unit === 'bytes' ? '' : ` ${unit}`}`;
  phase.textContent = `◍ ${kind}: ${at}`;
  // The total is unknown: an indeterminate bar.
  if (total) [bar.max, bar.value] = [total, Math.min(done, total)];
  else bar.removeAttribute('value');
  facts.textContent = [collection, far].filter(Boolean).join(' · ');
}

/** How work ended, in words, and what state that is. */
function outcome({ kind, state, runOutcome, drillOutcome, error }) {
  if (error) return [`▲ ${kind} failed: ${error.detail}`, 'error'];
  if (state === 'failed') return [`▲ ${kind} failed: ${[...(drillOutcome?.notes ?? []), ...(drillOutcome?.moment?.notes ?? [])].join('; ')}`, 'error'];
  if (state === 'held') return [`▲ the backup is held and not counted as good: ${runOutcome?.held.join('; ') ?? '–'}`, 'error'];
  if (runOutcome) return [`● a backup of ${some(runOutcome.documents, 'document')} was made and read back`, 'fresh'];
  return [`● ${kind} is done${drillOutcome ? ': the restored data is identical' : ''}`, 'fresh'];
}
