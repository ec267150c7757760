// Whether AC's services and Silo's own are well: a line each, and when it is opened what its kind knows, its last day and its last month.

import { sparkline, strip } from '../lib/charts.js';
import { keep, keptList, linkTo } from '../lib/address.js';
import { copyButton, fill, h, table } from '../lib/dom.js';
import { ageText, ago, bytesText, count, countText, percentText } from '../lib/format.js';
import { source } from '../lib/source.js';
import { follow } from '../lib/stream.js';
import { showReasons } from '../lib/state.js';

/** One shape for each status. */
const SHAPES = { up: '●', degraded: '◐', down: '▲', unknown: '?' };
/** What each status is among the states of the page. */
const STATES = { up: 'fresh', degraded: 'partial', down: 'error', unknown: 'unknown' };

export function mount(body) {
  const sources = { services: source('/api/services'), alarms: source('/api/services/alarms') };
  const notice = h('p', { class: 'facts' });
  const quiet = h('p', { class: 'facts', hidden: true }, '▢ nobody is told of alarms: ALERT_WEBHOOK_URL is not set');
  const cards = h('div', { class: 'cards' });
  fill(body, notice, quiet, cards);
  const shown = new Map();
  const opened = new Set(keptList('services'));
  /** The service that the address names, until it is shown. */
  let wanted = null;
  const look = () => sources.services.ask();
  follow('/api/services/events', {
    change: ({ name }) => {
      look();
      source(`/api/services/${name}`).ask();
    },
    gap: look,
  });

  /** Opens the line of a service, and brings it into view. */
  function reveal(name) {
    wanted = name;
    const found = shown.get(name);
    if (!found) return;
    wanted = null;
    found.open();
    found.element.scrollIntoView({ block: 'start' });
    found.element.querySelector('.open')?.focus({ preventScroll: true });
  }

  const turned = (name, isOpen) => {
    if (isOpen) opened.add(name);
    else opened.delete(name);
    keep('services', [...opened]);
  };

  const update = ({ services, alarms }) => {
    quiet.hidden = alarms.data?.setUp !== false;
    if (!services.data) return;
    const { services: list, total, up, down, degraded, unknown, connected } = services.data;
    notice.textContent = total === 0 ? '○ no services are probed; add [[probes]] to silo.toml'
      : [`${countText(up)} of ${countText(total)} up`, down > 0 && `${countText(down)} down`, degraded > 0 && `${countText(degraded)} degraded`, unknown > 0 && `${countText(unknown)} unknown`, !connected && 'the prober is offline'].filter(Boolean).join(' · ');
    for (const name of shown.keys()) if (!list.some((each) => each.name === name)) shown.delete(name);
    for (const { name } of list) if (!shown.has(name)) shown.set(name, card(name, opened.has(name), turned));
    const elements = list.map(({ name }) => shown.get(name).element);
    if (elements.some((element, at) => cards.children[at] !== element) || cards.children.length !== elements.length) cards.replaceChildren(...elements);
    for (const service of list) shown.get(service.name).head(service);
    if (wanted) reveal(wanted);
  };
  return { sources, update, reveal };
}

/** One service: a line from the list of all, and what is below it, when opened, from an answer of its own. */
function card(name, isOpen, turned) {
  const head = h('div', { class: 'head' });
  const month = h('div', { class: 'month' });
  const facts = h('div', { class: 'known', hidden: !isOpen });
  const why = h('ul', { class: 'reasons', hidden: true });
  const element = h('article', { class: 'card', 'aria-label': name }, head, why, facts);
  const detail = source(`/api/services/${name}`);
  let last = null;
  let checked = null;
  const turn = () => {
    facts.hidden = !facts.hidden;
    turned(name, !facts.hidden);
    fill(head, top(checked, month, !facts.hidden, turn));
  };
  detail.watch(() => {
    const { data } = detail.view();
    // What could not be had for this card, or that the card itself could not.
    showReasons(why, [detail]);
    if (!data || data === last) return;
    last = data;
    fill(month, uptime('the last 30 days', data.lastMonth));
    const open = [...facts.querySelectorAll('details[open] > summary')].map(({ dataset }) => dataset.key);
    fill(facts, known(data));
    for (const key of open) {
      const summary = facts.querySelector(`[data-key="${CSS.escape(key)}"]`);
      if (summary) summary.parentElement.open = true;
    }
  });
  return {
    element,
    open: () => facts.hidden && turn(),
    head: (service) => {
      if (service === checked) return;
      // A newer check than the one on the card.
      if (checked && checked.checkedAt !== service.checkedAt && Date.parse(service.checkedAt) - Date.parse(last?.checkedAt ?? 0) > 30_000) detail.ask();
      checked = service;
      element.dataset.state = STATES[service.status];
      fill(head, top(service, month, !facts.hidden, turn));
    },
  };
}

function top({ name, target, status, since, reasons, responseMs, checkedAt, certificateDays, uptime: { last24h, last30d } }, month, open, turn) {
  const share = (period, { percent, knownPercent }) => h('span', { title: `${percentText(knownPercent / 100)} of the time is known` }, `${period} ${percent === null ? '–' : `${percent} %`}`);
  const expires = certificateDays !== null && h('span', { class: certificateDays <= 14 ? 'caution' : null }, `certificate ${countText(certificateDays)} d`);
  return [
    h('div', { class: 'row' },
      h('h3', {}, h('button', { type: 'button', class: 'open', title: target, 'data-key': `service ${name}`, 'aria-expanded': String(open), onclick: turn }, h('span', { class: 'arrow', 'aria-hidden': 'true' }, open ? '▾' : '▸'), name)),
      h('span', { class: 'status' }, h('span', { class: 'shape', 'aria-hidden': 'true' }, SHAPES[status]), ` ${status}`),
      h('span', { class: 'number' }, millis(responseMs)), month, share('24 h', last24h), share('30 d', last30d), h('span', { class: 'checked' }, 'checked ', ago(checkedAt))),
    ...reasons.map(({ code, detail }) => h('p', { class: 'reason' }, detail, h('span', { class: 'code' }, ` ${code}`))),
    open && h('p', { class: 'facts' }, h('span', {}, `${status} for `, since ? h('time', { datetime: since, 'data-for': '' }, ageText((Date.now() - Date.parse(since)) / 1000)) : '–'), expires),
  ];
}

function known(service) {
  const { kind, facts, factsAsOf, status, lastDay, lastMonth, changes } = service;
  const say = KINDS[kind];
  return [
    ...(facts && say ? [say(facts, service)].flat() : []),
    facts && status === 'down' && h('p', { class: 'caution' }, 'as it was ', ago(factsAsOf)),
    response(lastDay),
    uptime('the last 24 hours', lastDay),
    uptime('the last 30 days', lastMonth),
    h('details', {}, h('summary', { 'data-key': `points of ${service.name}` }, 'as a table'), h('div', { class: 'wide' },
      points(`${service.name}, the last 24 hours`, lastDay), points(`${service.name}, the last 30 days`, lastMonth))),
    h('div', { class: 'tools' }, copyButton(() => new URL(linkTo('services', service.name), location.origin).href, 'copy a link', `link to ${service.name}`)),
    changes.length > 0 && h('details', {}, h('summary', { 'data-key': `changes of ${service.name}` }, `last changes (${changes.length})`),
      h('ul', { class: 'changes' }, changes.map(({ at, from, to, detail }) => h('li', {}, h('span', { class: 'status', 'data-state': STATES[to] }, `${SHAPES[to]} ${to}`), ' ', ago(at), detail ? ` ${detail}` : ` was ${from}`)))),
  ];
}

function response(day) {
  const values = day.map(({ responseMs }) => responseMs);
  const some = values.filter((value) => value !== null);
  const summary = some.length > 0 ? `answers in ${millis(some.at(-1))}, at most ${millis(Math.max(...some))} in 24 h` : 'no answer in 24 h';
  return sparkline(summary, values);
}

/** Less than one is not nothing. */
const millis = (value) => (value === null ? '–' : value === 0 ? '<1 ms' : `${countText(value)} ms`);

const points = (caption, list) => table(caption, [
  { title: 'from', cell: ({ at }) => new Date(at).toLocaleString('en', { dateStyle: 'short', timeStyle: 'short' }) },
  { title: 'status', cell: ({ status }) => `${SHAPES[status]} ${status}` },
  { title: 'answers in', number: true, cell: ({ responseMs }) => millis(responseMs) },
  { title: 'checks', number: true, cell: ({ checks }) => count(checks) },
  { title: 'failures', number: true, cell: ({ failures }) => count(failures) },
], list.filter(({ checks }) => checks > 0).toReversed());

function uptime(period, list) {
  const counts = Object.keys(SHAPES).map((status) => [status, list.filter((point) => point.status === status).length]);
  const words = counts.filter(([, number]) => number > 0).map(([status, number]) => `${status} ${number}`);
  return strip(`${period}: ${words.join(', ')} of ${list.length}`, list.map(({ status }) => status));
}

const rows = (pairs) => h('dl', { class: 'pairs' }, pairs.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))));

/** What each kind knows. */
const KINDS = {
  oven: ({ version, queued, baking, grabbing, uptimeSeconds, active, recent }) => [
    rows([['baking', count(baking)], ['waiting', count(queued)], ['grabbing', count(grabbing)], ['version', version ?? '–'], ['up for', ageText(uptimeSeconds)]]),
    h('ul', { class: 'bakes' }, (active ?? []).map(({ code, status, startedAt }) => h('li', {}, `◍ ${code ?? '–'} ${status ?? ''} `, ago(startedAt))),
      (recent ?? []).slice(0, 4).map(({ code, success, completedAt, durationMs }) => h('li', {}, `${success === null ? '?' : success ? '●' : '▲'} ${code ?? '–'} `, success === false ? 'failed ' : '', ago(completedAt), durationMs === null ? '' : `, took ${ageText(durationMs / 1000)}`))),
  ],
  session: ({ visitors, websockets, udp, uptimeSeconds }) => rows([['visitors', count(visitors)], ['web sockets', count(websockets)], ['udp', count(udp)], ['up for', ageText(uptimeSeconds)]]),
  atproto: ({ version }, { accounts, sync }) => [
    rows([['accounts', count(accounts?.total)], ['active', count(accounts?.active)], ['version', version ?? '–']]),
    h('p', { class: 'facts' }, h('span', {}, 'accounts as of ', ago(accounts?.asOf)), h('span', {}, 'sync as of ', ago(sync?.asOf))),
    sync ? h('ul', { class: 'sync' }, sync.collections.map(({ name, percent, withoutRkey }) => h('li', {}, h('span', { class: 'label' }, name),
      h('progress', { max: 100, value: percent ?? 0, 'aria-label': `${name} in sync` }), h('span', { class: 'text' }, percent === null ? '–' : `${percent} %`, withoutRkey ? ` · ${countText(withoutRkey)} missing` : '')))) : h('p', { class: 'facts' }, 'sync: not known'),
  ],
  lith: ({ calls, errors, errorPercent, functions, memoryBytes, uptimeSeconds, failing }) => [
    rows([['calls', count(calls)], ['errors', count(errors)], ['of calls', errorPercent === null ? '–' : `${errorPercent} %`], ['functions', count(functions)], ['memory', bytesText(memoryBytes)], ['up for', ageText(uptimeSeconds)]]),
    failing?.length > 0 && h('p', { class: 'facts' }, 'most errors: ', failing.map(({ name, errors: by }) => `${name} ${countText(by)}`).join(', ')),
  ],
  redis: ({ version, keys, clients, usedBytes, maxBytes, hitRatio, evictedKeys, uptimeSeconds }) => rows([
    ['keys', count(keys)], ['clients', count(clients)], ['memory', maxBytes ? `${bytesText(usedBytes)} of ${bytesText(maxBytes)}` : bytesText(usedBytes)],
    ['found', percentText(hitRatio)], ['evicted', count(evictedKeys)], ['version', version ?? '–'], ['up for', ageText(uptimeSeconds)]]),
};
