// Continuous backup, in the Backups panel: whether everything is stored, up to when it is proven, and a strip of what can be restored.

import { strip } from '../lib/charts.js';
import { box, h, table } from '../lib/dom.js';
import { ageText, ago, bytesText, countText } from '../lib/format.js';

/** Cells of the strip for each day. */
const CELLS = 4;
const CELL_MS = 86_400_000 / CELLS;
/** Seconds after which changes are stored, usually: slices are cut every 20 s. */
const USUAL = 60;
const STATES = { starting: '◌ starting', needs_base: '◍ waits for a backup', standby: '○ elsewhere', running: '● running', failing: '▲ failing', full: '▲ disk full' };
export const PROOFS = { equal: '● equal', different: '▲ DIFFERENT', not_made: '▢ not made' };
/** What can be restored of a cell, as a status of the strip. */
const WORDS = { up: 'proven', degraded: 'stored', unknown: 'not stored' };

/** The boxes: what is stored, and what is proven. */
export function boxes({ state, detail, days, since, unsafeSeconds, destinations }, proof) {
  if (state === 'off') return [box('any moment', '▢ off', 'what was written since the last backup would be lost; BACKUP_PITR_DAYS switches it on')];
  const waiting = Math.max(0, ...destinations.map(({ waitingBytes }) => waitingBytes));
  const failed = destinations.find(({ error }) => error);
  const late = unsafeSeconds === null ? state !== 'standby' : unsafeSeconds > USUAL;
  const value = unsafeSeconds === null ? STATES[state] ?? `? ${state}` : unsafeSeconds === 0 ? '● all stored' : `${late ? '▲' : '●'} stored up to ${ageText(unsafeSeconds)} ago`;
  const note = h('span', {},
    state !== 'running' && unsafeSeconds !== null && `${STATES[state] ?? state} · `, detail && `${detail} · `,
    failed && `▲ ${failed.name}: ${failed.error} · `,
    since ? h('span', {}, 'every moment since ', ago(since)) : 'no moment can be restored yet', `, at most ${countText(days)} days`, waiting > 0 && `; ${bytesText(waiting)} wait on this disk`);
  return [box('any moment', value, note, late || failed ? 'error' : 'fresh'), proofBox(proof)];
}

function proofBox(proof) {
  if (!proof) return box('proven', '○ not yet', 'the next backup is compared with the one before it and the changes between them');
  const { result, operations, asOf, at, notes } = proof;
  const text = result === 'equal' ? `${countText(operations)} operations between two backups` : notes.join('; ');
  return box('proven', PROOFS[result] ?? `? ${result}`, h('span', {}, 'up to ', ago(asOf), `: ${text}, compared `, ago(at)), result === 'equal' ? 'fresh' : 'error');
}

/** Times between two backups that are proven, the oldest first, without gaps where they follow each other. */
function provenTimes(backups) {
  const times = new Map(backups.map(({ id, asOf }) => [id, Date.parse(asOf)]));
  const pairs = backups.filter(({ proof }) => proof?.result === 'equal' && times.has(proof.base)).map(({ id, proof }) => [times.get(proof.base), times.get(id)]);
  const joined = [];
  for (const [begin, end] of pairs.sort(([one], [other]) => one - other)) {
    const last = joined.at(-1);
    if (last && begin <= last[1]) last[1] = Math.max(last[1], end);
    else joined.push([begin, end]);
  }
  return joined;
}

/** A backup has its time a moment after its position, at which a chain begins. */
const MOMENT_MS = 60_000;
const isWithin = (begin, end, times) => times.some(([from, to]) => from - MOMENT_MS <= begin && end <= to);

/** What can be restored of the days that are kept, the newest last; nothing if it is off. */
export function moments({ days, since, destinations }, backups = [], now = Date.now()) {
  const through = Math.max(...destinations.map(({ through: end }) => Date.parse(end) || 0), Date.parse(since) || 0);
  if (days === 0 || !since) return null;
  const proven = provenTimes(backups);
  const cells = Array.from({ length: days * CELLS }, (_, at) => {
    const end = now - CELL_MS * (days * CELLS - 1 - at);
    const begin = end - CELL_MS;
    const stored = Math.max(begin, Date.parse(since)) < Math.min(end, through);
    return { begin, end, status: !stored ? 'unknown' : isWithin(Math.max(begin, Date.parse(since)), Math.min(end, through), proven) ? 'up' : 'degraded' };
  });
  const seconds = (through - Math.max(Date.parse(since), now - days * 86_400_000)) / 1000;
  const known = seconds > 0 ? `the changes of ${ageText(seconds)} of the last ${countText(days)} days are stored; proven ones are full height` : 'no slice of changes is stored yet';
  const when = (time) => new Date(time).toLocaleString('en', { dateStyle: 'short', timeStyle: 'short' });
  const twin = table('moments that can be restored', [
    { title: 'from', cell: ({ begin }) => when(begin) },
    { title: 'to', cell: ({ end }) => when(end) },
    { title: 'moments', cell: ({ status }) => WORDS[status] },
  ], cells.toReversed());
  return strip(known, cells.map(({ status }) => status), twin);
}
