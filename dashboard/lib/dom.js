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

/** The steps of a path through the known values; a value by itself is a dot, and not nothing. */
export function path(values, height) {
  let pen = 'M';
  return values.map((value, at) => {
    if (value === null) {
      pen = 'M';
      return '';
    }
    const step = `${pen}${at} ${height(value).toFixed(2)}${pen === 'M' ? 'h.3' : ''}`;
    pen = 'L';
    return step;
  }).join('');
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

/** Replaces the contents, but leaves nodes that stay in the page as they are, and restores the focus to the element with the same `data-key`. */
export function fill(element, ...children) {
  const active = document.activeElement;
  const key = element.contains(active) ? active.dataset.key : undefined;
  const nodes = children.flat().filter(Boolean).map((child) => (child instanceof Node ? child : document.createTextNode(child)));
  const staying = new Set(nodes);
  for (const child of [...element.childNodes]) if (!staying.has(child)) child.remove();
  let at = element.firstChild;
  for (const node of nodes) {
    if (node === at) at = at.nextSibling;
    else element.insertBefore(node, at);
  }
  if (key && document.activeElement !== active) element.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
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
  return h('table', { 'data-name': caption },
    captionOf(caption),
    h('thead', {}, h('tr', {}, columns.map((column) => h('th', { scope: 'col', class: place(column) }, column.title)))),
    h('tbody', {}, rows.map((row) => h('tr', {}, columns.map((column, at) =>
      h(at === 0 ? 'th' : 'td', { class: place(column), scope: at === 0 ? 'row' : null }, column.cell(row)))))));
}

/** The name of a table, and buttons that save it. */
export function captionOf(name) {
  const save = (format) => h('button', { type: 'button', 'data-key': `${format} of ${name}`, 'aria-label': `save ${name} as ${format}`,
    onclick: async ({ target }) => (await import('./export.js')).saveTable(target.closest('table'), format) }, format);
  return h('caption', {}, h('span', { class: 'unseen' }, name), h('span', { class: 'export' }, save('csv'), save('json')));
}

/** A button that copies text. */
export function copyButton(text, words, name = words) {
  return h('button', { type: 'button', class: 'copy', 'data-key': `copy ${name}`, title: 'copy', onclick: async ({ target }) => {
    // Without HTTPS there is no clipboard.
    const copied = await navigator.clipboard?.writeText(typeof text === 'function' ? text() : text).then(() => true, () => false);
    target.textContent = copied ? '● copied' : '▲ not copied';
    setTimeout(() => { target.textContent = words; }, 1500);
  } }, words);
}

/** A box with one figure: its name, its value, and a line below. With a target it is a link. */
export function box(name, value, note, state, href) {
  return h(href ? 'a' : 'div', { class: 'box', 'data-state': state, href },
    h('div', { class: 'name' }, name), h('div', { class: 'value' }, value), h('div', { class: 'note' }, note ?? ''));
}
