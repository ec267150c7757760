// Keyboard shortcuts, their help, and the command palette. Loaded with the first shortcut.

import { linkTo } from '../lib/address.js';
import { fill, h } from '../lib/dom.js';
import { refreshAll, source } from '../lib/source.js';

/** The letter of each panel, after `g`. */
const LETTERS = { collections: 'c', database: 'd', history: 'h', storage: 's', services: 'v', kidlisp: 'k', backups: 'b', activity: 'a' };
/** How long one has for the second letter, in milliseconds. */
const SECOND_MS = 1500;
/** Commands shown at once. */
const SHOWN = 12;

let open = null;
let listening = null;

/** A shortcut was pressed. */
export function press(key, panels) {
  if (key === '?') return help();
  if (key === 'p') return palette(panels);
  if (key === '/') return focusFilter();
  if (key === 'g') return second();
}

/** Waits for the letter of a panel. */
function second() {
  listening?.abort();
  listening = new AbortController();
  setTimeout(() => listening?.abort(), SECOND_MS);
  addEventListener('keydown', (event) => {
    listening.abort();
    const panel = Object.keys(LETTERS).find((name) => LETTERS[name] === event.key);
    if (!panel) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    go(`#${panel}`);
  }, { capture: true, once: true, signal: listening.signal });
}

/** Goes to a panel or to something in it, also if the address has it already. */
function go(hash) {
  if (location.hash === hash) dispatchEvent(new HashChangeEvent('hashchange'));
  else location.hash = hash;
}

/** The filter of the panel that is in view, or of the first one. */
function focusFilter() {
  const filters = [...document.querySelectorAll('.panel input[type="search"]')].filter((each) => each.checkVisibility());
  const visible = filters.find((each) => each.closest('.panel').getBoundingClientRect().bottom > innerHeight / 3);
  (visible ?? filters[0])?.focus();
}

function dialog(label, ...children) {
  open?.close();
  const element = h('dialog', { 'aria-label': label, onclose: () => element.remove() }, ...children);
  // A click beside it.
  element.addEventListener('click', ({ target }) => target === element && element.close());
  document.body.append(element);
  element.showModal();
  open = element;
  return element;
}

function help() {
  const off = localStorage.getItem('silo keys') === 'off';
  const row = (keys, what) => h('div', {}, h('dt', {}, keys.map((key) => h('kbd', {}, key))), h('dd', {}, what));
  const box = h('input', { type: 'checkbox', id: 'keys-off', checked: off, onchange: () => {
    if (box.checked) localStorage.setItem('silo keys', 'off');
    else localStorage.removeItem('silo keys');
  } });
  dialog('keyboard shortcuts', h('h2', {}, 'Keyboard shortcuts'), h('dl', { class: 'keys' },
    row(['?'], 'this list'), row(['p'], 'commands, also with Ctrl or ⌘ and K, which is never off'), row(['/'], 'filter'), row(['r'], 'ask every service now'),
    Object.entries(LETTERS).map(([panel, letter]) => row(['g', letter], panel))),
  h('p', {}, box, h('label', { for: 'keys-off' }, ' single keys are off (kept in this browser)')),
  h('form', { method: 'dialog' }, h('button', {}, 'close')));
}

/** Everything that one can go to or do. */
function commands(panels) {
  const data = (url) => source(url).data;
  const to = (text, hash) => ({ text, run: () => go(hash) });
  const signOut = document.querySelector('footer a[href="/sign-out"]');
  return [
    ...panels.map((panel) => ({ text: `go to ${panel}`, run: () => go(`#${panel}`) })),
    { text: 'refresh: ask every service now', run: refreshAll },
    { text: 'keyboard shortcuts', run: help },
    { text: 'runbook', run: () => location.assign('/runbook') },
    { text: 'print', run: () => print() },
    signOut && { text: 'sign out', run: () => signOut.click() },
    ...(data('/api/db/collections')?.collections ?? []).flatMap(({ name }) => [to(`collection ${name}`, linkTo('collections', name)), to(`documents of ${name}`, linkTo('documents', name))]),
    ...(data('/api/services')?.services ?? []).map(({ name }) => to(`service ${name}`, linkTo('services', name))),
    ...(data('/api/backup/backups')?.backups ?? []).map(({ id }) => to(`backup ${id}`, linkTo('backups', id))),
  ].filter(Boolean);
}

function palette(panels) {
  const all = commands(panels);
  const input = h('input', { type: 'text', role: 'combobox', 'aria-expanded': 'true', 'aria-controls': 'commands', 'aria-label': 'a command, a collection, a service, a backup, or @handle', placeholder: 'a command, a collection, @handle …', autocomplete: 'off', spellcheck: 'false' });
  const list = h('ul', { id: 'commands', role: 'listbox', 'aria-label': 'commands' });
  let shown = [];
  let at = 0;
  const mark = () => {
    [...list.children].forEach((each, index) => each.setAttribute('aria-selected', String(index === at)));
    list.children[at]?.scrollIntoView({ block: 'nearest' });
    if (shown.length > 0) input.setAttribute('aria-activedescendant', `command-${at}`);
    else input.removeAttribute('aria-activedescendant');
  };
  const find = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const user = input.value.trim();
    const users = user.startsWith('@') || user.includes('|') ? [{ text: `user ${user}`, run: () => go(linkTo('users', user)) }] : [];
    shown = [...users, ...all.filter(({ text }) => words.every((word) => text.toLowerCase().includes(word)))].slice(0, SHOWN);
    at = 0;
    fill(list, shown.map(({ text }, index) => h('li', { id: `command-${index}`, role: 'option', onclick: () => run(index) }, text)));
    mark();
  };
  const run = (index) => {
    element.close();
    shown[index]?.run();
  };
  input.addEventListener('input', find);
  input.addEventListener('keydown', (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      at = (at + step + shown.length) % Math.max(1, shown.length);
      mark();
    } else if (event.key === 'Enter') run(at);
  });
  const element = dialog('commands', input, list);
  find();
}
