// Building elements. Text goes in as text: nothing is ever parsed as HTML.

const SVG = 'http://www.w3.org/2000/svg';

/**
 * An HTML element.
 * @param {string} tag
 * @param {Record<string, unknown>} attributes `on<event>` adds a listener; true and false set and leave out
 * @param {...(Node|string|number|null|undefined|false)} children
 */
export function h(tag, attributes = {}, ...children) {
  return dress(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return dress(document.createElementNS(SVG, tag), attributes, children);
}

function dress(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Replaces the contents, and restores the focus to the element with the same `data-key`. */
export function fill(element, ...children) {
  const active = document.activeElement;
  const key = element.contains(active) ? active.dataset.key : undefined;
  element.replaceChildren(...children.flat().filter(Boolean));
  if (key) element.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
}

/** Sets text only where it changes, so that nothing is selected, announced or laid out anew for nothing. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * A table.
 * @param {string} caption
 * @param {{ title: string, number?: boolean, cell: (row: any) => any }[]} columns
 * @param {any[]} rows
 */
export function table(caption, columns, rows) {
  const place = ({ number }) => (number ? 'number' : null);
  return h('table', {},
    h('caption', { class: 'unseen' }, caption),
    h('thead', {}, h('tr', {}, columns.map((column) => h('th', { scope: 'col', class: place(column) }, column.title)))),
    h('tbody', {}, rows.map((row) => h('tr', {}, columns.map((column, at) =>
      h(at === 0 ? 'th' : 'td', { class: place(column), scope: at === 0 ? 'row' : null }, column.cell(row)))))));
}

/** A box with one figure: its name, its value, and a line below. With a target it is a link. */
export function box(name, value, note, state, href) {
  return h(href ? 'a' : 'div', { class: 'box', 'data-state': state, href },
    h('div', { class: 'name' }, name), h('div', { class: 'value' }, value), h('div', { class: 'note' }, note ?? ''));
}
