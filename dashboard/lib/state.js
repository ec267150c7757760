// Display of freshness: shape and word first, colour second, and the age of the data.

import { fill, h, say } from './dom.js';
import { ageText } from './format.js';

/** One shape for each state. */
const SHAPES = {
  loading: '◌', fresh: '●', refreshing: '◍', stale: '◐', partial: '◑', error: '▲', empty: '○', 'not set up': '▢', unknown: '?',
};

/** Shows a state with its age. */
export function showState(element, { state, age }) {
  if (element.dataset.state !== state || !element.firstElementChild) {
    element.dataset.state = state;
    fill(element, h('span', { class: 'shape', 'aria-hidden': 'true' }, SHAPES[state]), h('span', { class: 'word' }, state), h('span', { class: 'age' }));
  }
  say(element.querySelector('.age'), age === null ? '' : ageText(age));
  element.title = age === null ? '' : `measured ${ageText(age)} ago`;
}

/** Lists why sources are not fresh, one line for each reason. */
export function showReasons(list, sources) {
  const reasons = new Map();
  for (const { reasons: all, retry } of sources.map((each) => each.view())) {
    for (const { source, code, detail, since, request } of all) {
      const seen = reasons.get(detail) ?? { detail, code, since, request, retry, sources: [] };
      seen.sources.push(source);
      reasons.set(detail, seen);
    }
  }
  const key = JSON.stringify([...reasons.values()].map(({ detail, sources: of, request }) => [detail, of, request]));
  if (list.dataset.shown !== key) {
    list.dataset.shown = key;
    list.hidden = reasons.size === 0;
    fill(list, [...reasons.values()].map(line));
  }
  let at = 0;
  for (const { since, retry } of reasons.values()) say(list.children[at++].querySelector('.when'), when(since, retry));
}

function line({ detail, code, sources, request }) {
  const some = sources.length > 3 ? `${sources.slice(0, 3).join(', ')} and ${sources.length - 3} more` : sources.join(', ');
  return h('li', { title: sources.join(', ') }, h('span', { class: 'where' }, some), ` ${detail} `,
    h('span', { class: 'when' }), h('span', { class: 'code' }, request ? ` ${code}, request ${request}` : ` ${code}`));
}

function when(since, retry) {
  const parts = [];
  if (since) parts.push(`for ${ageText((Date.now() - Date.parse(since)) / 1000)}`);
  if (retry !== null) parts.push(`next try in ${ageText(retry)}`);
  return parts.length > 0 ? `· ${parts.join(', ')} ·` : '·';
}
