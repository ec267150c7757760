// Open problems: the alarms of silo-services-probe and silo-backup, since when each is open, and the section of the runbook that helps.

import { fill, h } from '../lib/dom.js';
import { ago } from '../lib/format.js';
import { source } from '../lib/source.js';

/** Who has alarms: the beginning of its paths. */
const KEEPERS = { services: '/api/services', backups: '/api/backup' };
/** Sections of the runbook by the beginning of an alarm's code. */
const SECTIONS = {
  service_down: 'a-service-is-red-or-degraded',
  certificate_expires: 'a-service-is-red-or-degraded',
  mongod_down: 'mongod-does-not-start',
  disk_filling_up: 'disk-full',
  overdue: 'the-last-good-backup-is-too-old-or-the-last-run-failed',
  status_unknown: 'the-last-good-backup-is-too-old-or-the-last-run-failed',
  backup_failed: 'the-last-good-backup-is-too-old-or-the-last-run-failed',
  backup_held: 'a-backup-is-held',
  vanished: 'a-backup-has-vanished-or-a-manifest-was-changed',
  drill: 'the-last-drill-failed',
  moment_drill: 'the-last-drill-failed',
  mass_deletion: 'a-collection-was-emptied-or-damaged',
  oplog: 'continuous-backup-is-behind-or-not-proven',
};

/** The sources of the list. */
export const sources = () => Object.fromEntries(Object.entries(KEEPERS).map(([name, path]) => [name, source(`${path}/alarms`)]));

/** Shows the problems that the views of the sources have. */
export function show(list, views) {
  const rows = Object.entries(KEEPERS).flatMap(([name, path]) => {
    const { data } = views[name];
    return data ? [...data.alarms.map((alarm) => problem(alarm, path)), ...undelivered(data)] : [];
  });
  list.hidden = rows.length === 0;
  fill(list, rows);
}

function problem({ code, detail, since, acknowledged }, path) {
  const section = Object.entries(SECTIONS).find(([start]) => code.startsWith(start))?.[1];
  return h('li', { 'data-state': acknowledged ? 'partial' : 'error' },
    `${acknowledged ? '◑' : '▲'} ${detail}, since `, ago(since), ' ',
    section && h('a', { href: `/runbook#${section}` }, 'what to do'), ' ',
    acknowledged ? h('span', { class: 'facts' }, `acknowledged by ${acknowledged.by} `, ago(acknowledged.at))
      : h('button', { type: 'button', 'data-key': `acknowledge ${code}`, onclick: () => acknowledge(path, code) }, 'acknowledge'));
}

async function acknowledge(path, code) {
  // What came of it is in the next answer.
  await fetch(`${path}/alarms/${encodeURIComponent(code)}/acknowledge`, { method: 'POST', signal: AbortSignal.timeout(8000) }).catch(() => null);
  source(`${path}/alarms`).ask();
}

/** Receivers that did not take the last message. */
function undelivered({ failedDelivery, failedPing }) {
  return [failedDelivery, failedPing].filter(Boolean).map(({ receiver, error, at }) => h('li', { 'data-state': 'error' },
    `▲ alarms are not delivered: ${receiver}: ${error}, `, ago(at), ' ', h('a', { href: '/runbook#alerts' }, 'what to do')));
}
