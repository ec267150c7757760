// A table as CSV (RFC 4180) or JSON, as a file. Loaded when somebody asks for it.

/** What a cell holds: the exact number or time where there is one, otherwise its text. */
function value(cell) {
  const exact = cell.querySelector('data');
  if (exact && cell.textContent === exact.textContent) return Number(exact.value);
  const time = cell.querySelector('time');
  if (time && cell.textContent === time.textContent) return time.dateTime;
  if (cell.querySelector('.unknown') && cell.textContent === '–') return null;
  // Tags and arrows are no part of a name.
  const bare = cell.cloneNode(true);
  for (const extra of bare.querySelectorAll('.tag, .arrow')) extra.remove();
  return bare.textContent;
}

const cells = (row) => [...row.cells];

/** The titles, each once, and the rows. */
function read(table) {
  const seen = new Map();
  const titles = cells(table.tHead.rows[0]).map((cell) => {
    const title = value(cell);
    seen.set(title, (seen.get(title) ?? 0) + 1);
    return seen.get(title) > 1 ? `${title} ${seen.get(title)}` : title;
  });
  const all = [...table.tBodies[0].rows];
  // Sums are left out where their parts are listed; a row that spans all columns holds details of the one above.
  const listed = all.some((row) => row.cells.length === titles.length && !row.classList.contains('group'));
  const rows = all.filter((row) => row.cells.length === titles.length && !(listed && row.classList.contains('group'))).map((row) => cells(row).map(value));
  return { titles, rows };
}

/** Text that a spreadsheet would take for a formula begins with an apostrophe (OWASP: CSV injection). */
function field(each) {
  if (each === null) return '';
  const text = typeof each === 'string' && /^[=+\-@\t\r]/.test(each) ? `'${each}` : String(each);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function csv(table) {
  const { titles, rows } = read(table);
  return [titles, ...rows].map((row) => `${row.map(field).join(',')}\r\n`).join('');
}

export function json(table) {
  const { titles, rows } = read(table);
  // `fromEntries` defines each name as its own property, `__proto__` too.
  return `${JSON.stringify(rows.map((row) => Object.fromEntries(titles.map((title, at) => [title, row[at]]))), null, 2)}\n`;
}

/** Offers a file. */
export function save(name, type, text) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  // The browser has read it by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Saves a table under its name. */
export function saveTable(table, format) {
  const name = table.dataset.name.replaceAll(/[^a-z0-9]+/gi, '-').toLowerCase();
  const make = { csv: [csv, 'text/csv'], json: [json, 'application/json'] }[format];
  save(`silo-${name}-${new Date().toISOString().slice(0, 16).replaceAll(':', '')}.${format}`, make[1], make[0](table));
}
