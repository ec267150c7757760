// Registers the panels, loads each when it comes near the view, and lets every age tick.

import { h } from './lib/dom.js';
import { tickTimes } from './lib/format.js';
import { pauseAll, resumeAll, worst } from './lib/source.js';
import { showReasons, showState } from './lib/state.js';
import * as header from './panels/header.js';

/** The panels, in the order of the page. Each module exports `mount(body)`, which gives `{ sources, update }`. */
const PANELS = ['collections', 'database', 'storage', 'services', 'kidlisp', 'backups'];

/** The panels on the page so far. */
const frames = [];

function frame(root, panel) {
  const title = root.querySelector('.title');
  const state = h('span', { class: 'state' });
  const reasons = h('ul', { class: 'reasons', hidden: true });
  title?.append(state);
  title?.after(reasons);
  const body = root.querySelector('.body') ?? root;
  const { sources, update } = panel.mount(body);
  const used = Object.values(sources);
  const draw = () => {
    update(Object.fromEntries(Object.entries(sources).map(([name, source]) => [name, source.view()])));
    tick();
  };
  frames.push({ root, title, state, reasons, sources: used });
  for (const source of used) source.watch(draw);
  draw();
}

async function load(name) {
  const root = document.getElementById(name);
  try {
    frame(root, await import(`./panels/${name}.js`));
  } catch (error) {
    console.error(error);
    root.querySelector('.body').replaceChildren(h('p', { class: 'empty' }, `this panel could not be loaded: ${error.message}`));
  }
}

/** Ages grow and states turn by themselves, whether or not anything was fetched. */
function tick() {
  for (const { root, title, state, reasons, sources } of frames) {
    if (!title) continue;
    const view = worst(sources);
    root.dataset.state = view.state;
    showState(state, view);
    showReasons(reasons, sources);
  }
  tickTimes();
  header.tick([...new Set(frames.flatMap(({ sources }) => sources))]);
}

const near = new IntersectionObserver((entries) => {
  for (const entry of entries.filter(({ isIntersecting }) => isIntersecting)) {
    near.unobserve(entry.target);
    load(entry.target.id);
  }
}, { rootMargin: '200px' });

frame(document.getElementById('header'), header);
for (const name of PANELS) near.observe(document.getElementById(name));

setInterval(() => document.hidden || tick(), 1000);
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return pauseAll();
  resumeAll();
  tick();
});
addEventListener('online', resumeAll);
