// Small charts in SVG. Each has a sentence that says the same, and a table with the same numbers.

import { h, svg, table } from './dom.js';

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
 * @param {HTMLTableElement} twin
 */
export function sparkline(summary, values, twin) {
  const highest = Math.max(1e-9, ...values.map((value) => value ?? 0));
  const width = Math.max(1, values.length - 1);
  let pen = 'M';
  const path = values.map((value, at) => {
    if (value === null) {
      pen = 'M';
      return '';
    }
    const step = `${pen}${at} ${(30 - (28 * value) / highest).toFixed(2)}`;
    pen = 'L';
    return step;
  }).join('');
  const drawing = svg('svg', { class: 'sparkline', viewBox: `0 0 ${width} 31`, preserveAspectRatio: 'none', role: 'img', 'aria-label': summary },
    svg('path', { class: 'ground', d: `M0 30.5H${width}` }), svg('path', { d: path }));
  return figure('spark', summary, drawing, twin);
}

function figure(kind, summary, drawing, twin) {
  return h('figure', { class: kind }, h('figcaption', {}, summary), drawing,
    h('details', {}, h('summary', { 'data-key': `twin of ${twin.caption.textContent}` }, 'as a table'), h('div', { class: 'wide' }, twin)));
}

/** The table of a sparkline. */
export function series(caption, values, secondsApart) {
  const rows = values.map((value, at) => ({ value, before: (values.length - 1 - at) * secondsApart })).reverse();
  return table(caption, [
    { title: 'seconds ago', number: true, cell: ({ before }) => Math.round(before) },
    { title: 'per second', number: true, cell: ({ value }) => value ?? '–' },
  ], rows);
}
