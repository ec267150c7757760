// Open alarms, each with a button that acknowledges it, so that it is not repeated.

import { h } from '../lib/dom.js';
import { ago } from '../lib/format.js';

/** A list of alarms of the service below `path`; `look` shows what came of an acknowledgement. `null` if there are none. */
export function alarmList(alarms, path, look) {
  const row = ({ code, detail, since, acknowledged }) => h('li', { 'data-state': acknowledged ? 'partial' : 'error' },
    `${acknowledged ? '◑' : '▲'} ${detail}, since `, ago(since), ' ',
    acknowledged ? h('span', { class: 'facts' }, `acknowledged by ${acknowledged.by} `, ago(acknowledged.at))
      : h('button', { type: 'button', 'data-key': `acknowledge ${code}`, onclick: () => acknowledge(code) }, 'acknowledge'));

  async function acknowledge(code) {
    const url = `${path}/alarms/${encodeURIComponent(code)}/acknowledge`;
    // What came of it is in the next answer.
    await fetch(url, { method: 'POST', signal: AbortSignal.timeout(8000) }).catch(() => null);
    look();
  }

  return alarms.length > 0 ? h('ul', { class: 'reasons', 'aria-label': 'open alarms' }, alarms.map(row)) : null;
}
