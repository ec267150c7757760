// The masthead: what is running, the worst state and the oldest age on the page, and the figures one comes for.

import { box, fill, h, say } from '../lib/dom.js';
import { ageText, bytes, bytesText, count, countText, percentText } from '../lib/format.js';
import { refreshAll, source, worst } from '../lib/source.js';
import { showState } from '../lib/state.js';

let overall;
let announced = '';

export function mount(body) {
  const boxes = body.querySelector('.boxes');
  overall = body.querySelector('.overall .state');
  const again = h('button', { type: 'button', class: 'again', title: 'ask every service now', onclick: () => refreshAll() }, 'refresh');
  overall.after(again);
  tellVersion();
  const sources = {
    collections: source('/api/db/collections'),
    users: source('/api/db/users/count'),
    health: source('/api/db/health'),
    keeps: source('/api/kidlisp/stats'),
    storage: source('/api/storage/usage'),
  };
  const update = (views) => fill(boxes, figures(views));
  return { sources, update };
}

function figures({ collections, users, health, keeps, storage }) {
  const { total, disposable } = collections.data ?? {};
  const people = users.data;
  const server = health.data;
  const kept = keeps.data;
  const stored = storage.data;
  return [
    box('documents', count(total?.documents), total ? `in ${countText(total.collections)} collections` : '', shown(collections)),
    box('database', bytes(total?.dataBytes), disposable ? `${percentText(disposable.shareOfDataBytes)} disposable` : '', shown(collections)),
    box('users', count(people?.users), people ? `${countText(people.new.last7Days)} new in 7 days` : '', shown(users)),
    box('handles', count(people?.handles), people ? `${countText(people.withoutHandle)} users without` : '', shown(users)),
    box('keeps', count(kept?.kept), kept ? `${countText(kept.pending)} pending, ${countText(kept.failed)} failed` : '', shown(keeps)),
    box('mongod', server?.status ?? '–', server?.uptimeSeconds ? `${server.version}, up ${ageText(server.uptimeSeconds)}` : '', shown(health)),
    box('spaces', bytes(stored?.bytes), stored ? scanned(stored) : '', shown(storage)),
    notSetUp('services up'),
    notSetUp('last good backup'),
  ];
}

/** How much of storage is known, or how far the scan is. */
function scanned({ objects, knownBytes, scan }) {
  if (scan.scanning && objects === null) return `${countText(scan.objects)} objects counted`;
  return objects === null ? `at least ${bytesText(knownBytes)}` : `${countText(objects)} objects`;
}

const shown = ({ state }) => (state === 'refreshing' ? 'fresh' : state);

const notSetUp = (name) => box(name, h('span', { class: 'unknown' }, '▢ not set up'), '', 'not set up');

/** Which build answers; asked once, because a page outlives no deployment for long. */
async function tellVersion() {
  try {
    const { version, sha, dirty } = await (await fetch('/version', { signal: AbortSignal.timeout(8000) })).json();
    const stamp = [`v${version}`, sha?.slice(0, 7), dirty && 'with changes'].filter(Boolean).join(' · ');
    document.getElementById('footer').replaceChildren(h('span', { title: sha ?? 'the commit is not known' }, `silo ${stamp}`), ' · ', h('a', { href: '/api/db/openapi.json' }, 'api'));
  } catch {
    document.getElementById('footer').replaceChildren('silo · version not known');
  }
}

/** Every second: the worst state and the oldest age of all sources; a change of state is announced once. */
export function tick(sources) {
  const view = worst(sources);
  showState(overall, view);
  const word = view.state === 'refreshing' ? announced : view.state;
  if (word !== announced && word !== 'loading') {
    if (announced !== '' || word !== 'fresh') say(document.getElementById('announcement'), `silo is ${word}`);
    announced = word;
  }
  document.title = ['stale', 'error'].includes(view.state) ? `${view.state} · silo` : 'silo';
}
