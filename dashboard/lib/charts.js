// Small charts in SVG. Each has an equivalent sentence and a table with its numbers.

import { h, path, svg, table } from './dom.js';

/**
 * Bars of one length scale, each in two parts.
 * @param {string} summary what the chart says
 * @param {{ label: string, value: number|null, marked: number|null, text: Node|string }[]} rows `marked` is the hatched part of `value`
 * @param {HTMLTableElement} twin
 */
export function bars(summary, rows, twin) {
  const longest = Math.max(1, ...rows.map(({ value }) => value ?? 0));
  const share = (value) => `${((100 * (value ?? 0)) / longest).toFixed(2)}%`;
  const bar = ({ value, marked }) => svg('svg', { class: 'bar', 'aria-hidden': 'true' },
    hatch(),
    svg('rect', { class: 'rest', width: share(value), height: '100%' }),
    svg('rect', { class: 'marked', width: share(marked), height: '100%' }),
    svg('rect', { class: 'hatched', width: share(marked), height: '100%', fill: 'url(#hatch)' }));
  const lines = rows.map((row) => h('div', { class: 'line' }, h('span', { class: 'label' }, row.label), bar(row), h('span', { class: 'text' }, row.text)));
  return figure('bars', summary, h('div', { 'aria-hidden': 'true' }, lines), twin);
}

function hatch() {
  return svg('defs', {}, svg('pattern', { id: 'hatch', width: 5, height: 5, patternUnits: 'userSpaceOnUse', patternTransform: 'rotate(45)' },
    svg('rect', { class: 'stripe', width: 2, height: 5 })));
}

/**
 * A line of values, the newest last; a gap where nothing is known.
 * @param {string} summary
 * @param {(number|null)[]} values
 * @param {HTMLTableElement} [twin] unless the caller has one for several charts
 */
export function sparkline(summary, values, twin) {
  const highest = Math.max(1e-9, ...values.map((value) => value ?? 0));
  const width = Math.max(1, values.length - 1);
  const drawing = svg('svg', { class: 'sparkline', viewBox: `0 0 ${width} 31`, preserveAspectRatio: 'none', role: 'img', 'aria-label': summary },
    svg('path', { class: 'ground', d: `M0 30.5H${width}` }), svg('path', { d: path(values, (value) => 30 - (28 * value) / highest) }));
  return figure('spark', summary, drawing, twin);
}

/**
 * A line of values over time, the newest last, between the smallest and the largest, from the first known value on; a gap where nothing is known. Without
 * two known values there is only the summary.
 * @param {string} summary
 * @param {(number|null)[]} values
 * @param {Date[]} times of the values
 * @param {(value: number|null) => string} text
 * @param {string} name
 */
export function line(summary, values, times, text, name) {
  const known = values.filter((value) => value !== null);
  if (known.length < 2) return h('p', { class: 'facts' }, summary);
  const first = values.findIndex((value) => value !== null);
  [values, times] = [values.slice(first), times.slice(first)];
  const [least, most] = [Math.min(...known), Math.max(...known)];
  // A line that does not change is in the middle.
  const height = (value) => (most > least ? 98 - (96 * (value - least)) / (most - least) : 50);
  const drawing = svg('svg', { class: 'plot', viewBox: `0 0 ${Math.max(1, values.length - 1)} 100`, preserveAspectRatio: 'none', role: 'img', 'aria-label': summary },
    svg('path', { d: path(values, height) }));
  const when = (time) => time.toLocaleString('en', { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
  const rows = values.map((value, at) => ({ value, time: times[at] })).filter(({ value }) => value !== null).reverse();
  const twin = table(`${name} over time`, [
    { title: 'time', cell: ({ time }) => when(time) },
    { title: name, number: true, cell: ({ value }) => text(value) },
  ], rows);
  const scale = most > least && h('div', { class: 'scale', 'aria-hidden': 'true' }, h('span', {}, text(most)), h('span', {}, text(least)));
  const ends = h('div', { class: 'ends', 'aria-hidden': 'true' }, h('span', {}, when(times[0])), h('span', {}, when(times.at(-1))));
  return figure('spark', summary, h('div', {}, h('div', { class: 'ground' }, drawing, scale), ends), twin);
}

/** Height of each status in a strip, so that it is recognisable without colour. */
const HEIGHTS = { up: 18, degraded: 12, down: 6, unknown: 2 };

/**
 * A strip of statuses, the newest last: full height is up, less is worse, a line at the ground is not known.
 * @param {string} summary
 * @param {string[]} statuses
 * @param {HTMLTableElement} [twin] unless the caller has one for several charts
 */
export function strip(summary, statuses, twin) {
  const cells = statuses.map((status, at) => svg('rect', { class: status, x: at + 0.1, width: 0.8, y: 18 - HEIGHTS[status], height: HEIGHTS[status] }));
  const drawing = svg('svg', { class: 'strip', viewBox: `0 0 ${statuses.length} 18`, preserveAspectRatio: 'none', role: 'img', 'aria-label': summary }, cells);
  return figure('spark', summary, drawing, twin);
}

function figure(kind, summary, drawing, twin) {
  return h('figure', { class: kind }, h('figcaption', {}, summary), drawing,
    twin && h('details', {}, h('summary', { 'data-key': `twin of ${twin.dataset.name}` }, 'as a table'), h('div', { class: 'wide' }, twin)));
}

/** The table of a sparkline. */
export function series(caption, values, secondsApart) {
  const rows = values.map((value, at) => ({ value, before: (values.length - 1 - at) * secondsApart })).reverse();
  return table(caption, [
    { title: 'seconds ago', number: true, cell: ({ before }) => Math.round(before) },
    { title: 'per second', number: true, cell: ({ value }) => value ?? '–' },
  ], rows);
}

/** The sides of the area that a treemap fills, in its own units. */
const [WIDE, HIGH] = [1000, 380];

/**
 * Rectangles whose areas are the values, the largest first.
 * @param {string} summary
 * @param {{ label: string, value: number, text: string }[]} items in falling order of value
 * @param {HTMLTableElement} twin
 */
export function treemap(summary, items, twin) {
  const known = items.filter(({ value }) => value > 0);
  const total = known.reduce((sum, { value }) => sum + value, 0);
  const cells = tile(known.map((item) => ({ item, area: (item.value / total) * WIDE * HIGH })), 0, 0, WIDE, HIGH);
  const drawing = svg('svg', { class: 'treemap', viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    cells.map(({ x, y, width, height, item }) => svg('rect', { x: x + 0.5, y: y + 0.5, width: Math.max(0, width - 1), height: Math.max(0, height - 1) },
      svg('title', {}, `${item.label}: ${item.text}`))));
  // Letters would be stretched with the drawing, so they lie over it.
  const percent = (part, whole) => `${((100 * part) / whole).toFixed(2)}%`;
  const names = cells.filter(({ width, height }) => width > 66 && height > 42).map(({ x, y, width, height, item }) =>
    place(h('span', {}, item.label, h('small', {}, item.text)), { left: percent(x, WIDE), top: percent(y, HIGH), width: percent(width, WIDE), height: percent(height, HIGH) }));
  return figure('tree', summary, h('div', { class: 'ground', 'aria-hidden': 'true' }, drawing, names), twin);
}

/** Sets where an element is; the page's policy allows no style attributes. */
function place(element, where) {
  Object.assign(element.style, where);
  return element;
}

/** Fills a rectangle with areas, row by row along its shorter side, each row as long as that makes its cells more square (Bruls, Huizing, van Wijk: Squarified Treemaps). */
function tile(cells, x, y, width, height) {
  if (cells.length === 0) return [];
  const side = Math.min(width, height);
  let count = 1;
  while (count < cells.length && worstRatio(cells.slice(0, count + 1), side) <= worstRatio(cells.slice(0, count), side)) count += 1;
  const row = cells.slice(0, count);
  const sum = row.reduce((all, { area }) => all + area, 0);
  const depth = side > 0 ? sum / side : 0;
  let at = 0;
  const placed = row.map(({ item, area }) => {
    const length = depth > 0 ? area / depth : 0;
    const cell = width >= height ? { x, y: y + at, width: depth, height: length, item } : { x: x + at, y, width: length, height: depth, item };
    at += length;
    return cell;
  });
  const rest = width >= height ? tile(cells.slice(count), x + depth, y, width - depth, height) : tile(cells.slice(count), x, y + depth, width, height - depth);
  return [...placed, ...rest];
}

function worstRatio(row, side) {
  const sum = row.reduce((all, { area }) => all + area, 0);
  const areas = row.map(({ area }) => area);
  return Math.max((side ** 2 * Math.max(...areas)) / sum ** 2, sum ** 2 / (side ** 2 * Math.min(...areas)));
}
