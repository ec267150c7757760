// The address of the page: `#/panel/item` leads to something in a panel (main.js); the query has filters and what is open, so that an address can be shared.

/** The address of an item. */
export const linkTo = (panel, item) => `#/${panel}/${encodeURIComponent(item)}`;

/** A kept value; null if there is none. */
export const kept = (name) => new URLSearchParams(location.search).get(name);

/** The kept list of names. */
export const keptList = (name) => (kept(name) ?? '').split(',').filter(Boolean).map((each) => {
  try {
    return decodeURIComponent(each);
  } catch {
    return each;
  }
});

/** Keeps a value, or a list; nothing for an empty one. */
export function keep(name, value) {
  const query = new URLSearchParams(location.search);
  const text = Array.isArray(value) ? value.map(encodeURIComponent).join(',') : value;
  if (text) query.set(name, text);
  else query.delete(name);
  const search = query.size > 0 ? `?${query}` : '';
  if (search !== location.search) history.replaceState(null, '', `${location.pathname}${search}${location.hash}`);
}
