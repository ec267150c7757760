// Formatting of numbers and times. An unknown value is a dash, never a zero.

import { h, say } from './dom.js';

const UNKNOWN = '–';
const whole = new Intl.NumberFormat('en');
const tenth = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

const known = (value) => typeof value === 'number' && Number.isFinite(value);

/** A value, with its exact form in an attribute and a tooltip; a dash if it is unknown. */
function figure(value, text, exact) {
  if (!known(value)) return h('span', { class: 'unknown', title: 'not known' }, UNKNOWN);
  return h('data', { value, title: exact === text ? null : exact }, text);
}

/** `12,345` */
export const count = (value) => figure(value, countText(value), countText(value));
/** The same as text. */
export const countText = (value) => (known(value) ? whole.format(value) : UNKNOWN);

/** `1.2 MiB`, with the bytes behind it. */
export const bytes = (value) => figure(value, bytesText(value), `${countText(value)} bytes`);
/** The same as text. */
export function bytesText(value) {
  if (!known(value)) return UNKNOWN;
  let unit = 0;
  let size = value;
  while (Math.abs(size) >= 1023.95 && unit < UNITS.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? whole.format(size) : tenth.format(size)} ${UNITS[unit]}`;
}

/** A share from 0 to 1 as `12.3 %`; a share that would round to 0 is `<0.1 %`. */
export const percent = (share) => figure(share, percentText(share), percentText(share));
/** The same as text. */
export function percentText(share) {
  if (!known(share)) return UNKNOWN;
  const hundredth = share * 100;
  if (hundredth > 0 && hundredth < 0.1) return '<0.1 %';
  if (hundredth < 100 && hundredth > 99.9) return '>99.9 %';
  return `${tenth.format(hundredth)} %`;
}

/** `3.4` */
export const rate = (value) => figure(value, known(value) ? tenth.format(value) : UNKNOWN, String(value));

/** Seconds as `12 s`, `3 min`, `2 h`, `5 d`. */
export function ageText(seconds) {
  if (!known(seconds)) return UNKNOWN;
  if (seconds < 90) return `${Math.max(0, Math.floor(seconds))} s`;
  if (seconds < 5400) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${whole.format(Math.floor(seconds / 86400))} d`;
}

/** Relative time of a moment, with the exact time as a tooltip. Updated by `tickTimes`. */
export function ago(moment) {
  const time = Date.parse(moment);
  if (!Number.isFinite(time)) return h('span', { class: 'unknown', title: 'not known' }, UNKNOWN);
  return h('time', { datetime: moment, title: new Date(time).toLocaleString('en') }, momentText(time));
}

function momentText(time) {
  const seconds = (Date.now() - time) / 1000;
  if (seconds < -5) return `in ${ageText(-seconds)}`;
  return seconds < 0 ? 'just now' : `${ageText(seconds)} ago`;
}

/** Updates all relative times of the page; with `data-for`, durations. */
export function tickTimes() {
  for (const element of document.querySelectorAll('time[datetime]')) {
    if ('clock' in element.dataset) continue;
    const time = Date.parse(element.dateTime);
    say(element, 'for' in element.dataset ? ageText((Date.now() - time) / 1000) : momentText(time));
  }
}
