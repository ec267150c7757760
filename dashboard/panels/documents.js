// Documents of one collection: a filter, an order, and pages of them as Extended JSON. Loaded when somebody opens it.

import { copyButton, fill, h } from '../lib/dom.js';
import { bytesText, countText } from '../lib/format.js';
import { once } from '../lib/source.js';

/** Documents on a page. */
const PAGE = 20;

/** A page; throws with a sentence for people. */
async function read(path) {
  const { data, detail } = await once(path);
  if (!data) throw new Error(detail);
  return data;
}

/** The documents of a collection. */
export function documents(name) {
  const path = `/api/db/collections/${encodeURIComponent(name)}/documents`;
  const asked = { filter: '', sort: '', offset: 0 };
  const filter = h('input', { type: 'text', class: 'filter', placeholder: '{"user": "auth0|..."}', 'data-key': `filter of ${name}`, 'aria-label': `filter documents of ${name}, as Extended JSON`, spellcheck: 'false', autocomplete: 'off' });
  const sort = h('select', { 'data-key': `order of ${name}`, 'aria-label': `order of the documents of ${name}`, onchange: () => ask({ sort: sort.value, offset: 0 }) });
  const list = h('div', { class: 'documents' });
  const pages = h('div', { class: 'tools' });
  const note = h('p', { class: 'notice', role: 'status' });
  let latest = 0;

  async function ask(change) {
    Object.assign(asked, change);
    const own = ++latest;
    const query = new URLSearchParams({ offset: asked.offset, limit: PAGE });
    if (asked.filter) query.set('filter', asked.filter);
    if (asked.sort) query.set('sort', asked.sort);
    note.textContent = 'reading …';
    try {
      const found = await read(`${path}?${query}`);
      // A later question has an answer of its own.
      if (own !== latest) return;
      note.textContent = '';
      show(found);
    } catch (error) {
      if (own === latest) note.textContent = `▲ ${error.message}`;
    }
  }

  function show({ documents: all, more, offset, sort: order, sorts, leavesOut }) {
    const orders = sorts.flatMap((field) => [`-${field}`, field]);
    fill(sort, orders.map((each) => h('option', { value: each, selected: each === order }, each.startsWith('-') ? `${each.slice(1)}, falling` : `${each}, rising`)));
    sort.hidden = orders.length === 0;
    fill(list, all.length === 0 ? h('p', { class: 'empty' }, offset > 0 || asked.filter ? '○ no documents here' : '○ no documents') : all.map((document, at) => shown(document, at === 0 && all.length === 1)));
    const turn = (by, text, possible) => h('button', { type: 'button', 'data-key': `${text} documents of ${name}`, disabled: !possible, onclick: () => ask({ offset: offset + by }) }, text);
    fill(pages, turn(-PAGE, 'previous', offset > 0), turn(PAGE, 'next', more),
      all.length > 0 && h('span', { class: 'facts' }, `${countText(offset + 1)} to ${countText(offset + all.length)}${more ? '' : ', the last'}${leavesOut ? `; without those that have no ${order.replace('-', '')}` : ''}`));
  }

  function shown({ id, bytes, document }, open) {
    const text = document && JSON.stringify(document, null, 2);
    const key = typeof id === 'string' ? id : JSON.stringify(id);
    return h('details', { open },
      h('summary', { 'data-key': `document ${key}` }, h('code', {}, id?.$oid ?? key), h('span', { class: 'facts' }, ` ${bytesText(bytes)}`)),
      text ? [h('pre', { tabindex: 0 }, text), h('div', { class: 'tools' }, copyButton(text, 'copy the document', key), copyButton(JSON.stringify({ _id: id }), 'copy a filter for it', `filter ${key}`))]
        : h('p', { class: 'facts' }, 'larger than a page shows: ', h('button', { type: 'button', onclick: () => alone(id) }, 'this one alone')));
  }

  async function alone(id) {
    filter.value = asked.filter = JSON.stringify({ _id: id });
    const own = ++latest;
    try {
      const found = await read(`${path}?${new URLSearchParams({ filter: asked.filter, limit: 1 })}`);
      if (own !== latest) return;
      asked.offset = 0;
      show(found);
      if (found.documents[0] && !found.documents[0].document) note.textContent = '▲ larger than 128 KiB: silo-migrate export has it, or mongosh';
    } catch (error) {
      note.textContent = `▲ ${error.message}`;
    }
  }

  const submit = (event) => {
    event.preventDefault();
    ask({ filter: filter.value.trim(), offset: 0 });
  };
  ask({});
  return h('div', { class: 'browse' },
    h('form', { class: 'tools', onsubmit: submit }, filter, h('button', { type: 'submit' }, 'find'), sort),
    h('p', { class: 'facts' }, 'fields with $eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $exists, $type; combined with $and, $or, $nor; at most 2 s'),
    note, list, pages);
}
