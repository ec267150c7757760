// Registers the panels, loads each when it comes into view, and lets every age tick.

import { h } from './lib/dom.js';
import { tickTimes } from './lib/format.js';
import { pauseAll, refreshAll, resumeAll, worst } from './lib/source.js';
import { showReasons, showState } from './lib/state.js';
import * as header from './panels/header.js';

/**
 * The panels, in the order of the page. Each module exports `mount(body, use)`, which gives `{ sources, update, reveal }`: `use(sources)` replaces the
 * sources, and `reveal(item, kind)` shows what the address names.
 */
const PANELS = ['collections', 'database', 'history', 'storage', 'services', 'kidlisp', 'backups', 'activity'];
/** Kinds of items that are in the panel of another name. */
const INSIDE = { users: 'storage', documents: 'collections' };

/** The panels on the page so far. */
const frames = [];

function frame(root, panel) {
  const title = root.querySelector('.title');
  const state = h('span', { class: 'state' });
  const reasons = h('ul', { class: 'reasons', hidden: true });
  title?.append(state);
  (title ?? root.querySelector('.masthead')).after(reasons);
  const body = root.querySelector('.body') ?? root;
  const shown = { root, title, state, reasons, sources: [] };
  let used = {};
  let leave = [];
  const draw = () => {
    update(Object.fromEntries(Object.entries(used).map(([name, source]) => [name, source.view()])));
    body.classList.toggle('waiting', title !== null && shown.sources.every(({ data, failure }) => !data && !failure));
    tick();
  };
  const use = (sources) => {
    leave.forEach((end) => end());
    used = sources;
    shown.sources = Object.values(sources);
    leave = shown.sources.map((source) => source.watch(draw));
    draw();
  };
  const { sources, update, reveal } = panel.mount(body, use);
  frames.push(shown);
  use(sources);
  shown.reveal = reveal;
}

/** How long the page stays at a panel to which it was sent, in milliseconds. */
const HOLD_MS = 4000;
/** Pauses before a module that could not be loaded is asked for again, in milliseconds: the network may have changed meanwhile. */
const PAUSES = [1000, 3000, 10_000];

/** The panels that are loaded, or are being loaded. */
const loading = new Set();

async function load(name) {
  if (loading.has(name)) return;
  loading.add(name);
  const root = document.getElementById(name);
  seen.unobserve(root);
  try {
    frame(root, await module(name));
    if (held === root) show();
  } catch (error) {
    console.error(error);
    root.querySelector('.body').replaceChildren(h('p', { class: 'empty' }, `this panel could not be loaded: ${error.message}`));
  }
}

/** The module of a panel. Some browsers remember that an address failed, so the next attempt has another one. */
async function module(name, attempt = 0) {
  try {
    return await import(`./panels/${name}.js${attempt > 0 ? `?attempt=${attempt}` : ''}`);
  } catch (error) {
    if (attempt === PAUSES.length) throw error;
    await new Promise((resolve) => setTimeout(resolve, PAUSES[attempt]));
    return module(name, attempt + 1);
  }
}

/** Shows the panel that the address names (`#panel`), or something in it (`#/panel/item`), once it is there. */
function show() {
  const [, kind, escaped] = location.hash.match(/^#\/?([a-z]+)(?:\/(.+))?$/) ?? [];
  const root = kind && document.getElementById(INSIDE[kind] ?? kind);
  if (!PANELS.includes(root?.id)) return;
  hold(root);
  const item = escaped && unescaped(escaped);
  const panel = frames.find((each) => each.root === root);
  if (panel && item) panel.reveal?.(item, kind);
  if (!panel) load(root.id);
}

/** The panel to which the page was sent, while those above it still change their height; null when one scrolls or uses something. */
let held = null;

function hold(root) {
  held = root;
  root.scrollIntoView({ behavior: 'instant' });
  setTimeout(() => { if (held === root) held = null; }, HOLD_MS);
}

const sizes = new ResizeObserver(() => {
  const at = held?.contains(document.activeElement) ? document.activeElement : held;
  at?.scrollIntoView({ behavior: 'instant' });
});
for (const event of ['wheel', 'touchmove', 'pointerdown', 'keydown']) addEventListener(event, () => { held = null; }, { passive: true, capture: true });

/** The text of a part of an address; null if it was cut or made by hand. */
function unescaped(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

/** Ages grow and states turn by themselves, whether or not anything was fetched. */
function tick() {
  for (const { root, title, state, reasons, sources } of frames) {
    showReasons(reasons, sources);
    if (!title) continue;
    const view = worst(sources);
    root.dataset.state = view.state;
    showState(state, view);
  }
  tickTimes();
  header.tick([...new Set(frames.flatMap(({ sources }) => sources))]);
}

// Not for a title at the lower edge of the view alone.
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries.filter(({ isIntersecting }) => isIntersecting)) load(entry.target.id);
}, { rootMargin: '0px 0px -200px' });

/** Keys that do something on the whole page, unless one is typing or has switched them off; the rest is loaded with the first of them. */
const KEYS = ['?', '/', 'g', 'p'];
addEventListener('keydown', async (event) => {
  const { key, target: at } = event;
  const palette = key === 'k' && (event.ctrlKey || event.metaKey);
  const typing = at.closest?.('input, select, textarea, dialog') || event.ctrlKey || event.metaKey || event.altKey;
  if (!palette && (typing || localStorage.getItem('silo keys') === 'off')) return;
  if (key === 'r') return refreshAll();
  if (!palette && !KEYS.includes(key)) return;
  event.preventDefault();
  (await import('./panels/commands.js')).press(palette ? 'p' : key, PANELS);
});
addEventListener('hashchange', show);
// The same address once more: there is no `hashchange`.
addEventListener('click', ({ target: at }) => at.closest?.('a[href^="#"]')?.getAttribute('href') === location.hash && show());

frame(document.getElementById('header'), header);
for (const name of PANELS) {
  seen.observe(document.getElementById(name));
  sizes.observe(document.getElementById(name));
}

setInterval(() => document.hidden || tick(), 1000);
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return pauseAll();
  resumeAll();
  tick();
});
addEventListener('online', resumeAll);
show();
