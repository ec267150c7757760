// The form that looks up a user by handle, sub or code.

import { linkTo } from '../lib/address.js';
import { fill, h } from '../lib/dom.js';
import { once } from '../lib/source.js';

/** The form, and `look(id)`, which fills it and brings it into view. */
export function lookUp() {
  const input = h('input', { type: 'search', name: 'id', placeholder: '@handle, sub or code', 'aria-label': 'find a user by @handle, sub or code', autocomplete: 'off', spellcheck: 'false', maxlength: 255 });
  const found = h('div', { class: 'found-user', role: 'status' });
  let asked = 0;
  const ask = async () => {
    const id = input.value.trim();
    const own = ++asked;
    if (id === '') return fill(found);
    fill(found, h('p', { class: 'facts' }, 'looking …'));
    const [module, kept, works] = await Promise.all([import('./person.js').catch(() => null), once(`/api/storage/user/${encodeURIComponent(id)}`), once(`/api/db/users/${encodeURIComponent(id)}/works`)]);
    // A later question has an answer of its own.
    if (own === asked) fill(found, module ? module.person(id, kept, works) : h('p', { class: 'caution' }, '▲ the gateway cannot be reached'));
  };
  const submit = (event) => {
    event.preventDefault();
    const id = input.value.trim();
    if (id !== '') history.replaceState(null, '', linkTo('users', id));
    ask();
  };
  const element = h('div', { class: 'look-up' }, h('h3', {}, 'find a user'), h('form', { class: 'tools', onsubmit: submit }, input, h('button', { type: 'submit' }, 'find')), found);
  const look = (id) => {
    input.value = id;
    element.scrollIntoView();
    input.focus({ preventScroll: true });
    ask();
  };
  return { element, look };
}
