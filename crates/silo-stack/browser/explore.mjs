// Looking into things: activity, documents, users, links, saved tables, shortcuts; and data that is hostile.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { KNOWN, address, axe, hide, insert, loadAll, open, settle, test, truth } from './page.mjs';

const HOSTILE = '<img src=x onerror=alert(1)>';
const events = (page) => page.locator('#activity .status');

/** Fails if axe finds anything on the page as it is. */
export async function assertAccessible(page, where) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  assert.deepEqual(violations.map(({ id, nodes }) => `${where}: ${id}: ${nodes.slice(0, 3).map((node) => node.target).join(' ')}`), []);
}

test('a change of the database is on the page as it happens, as text, and without what is private', async () => {
  const { page, close } = await open();
  await loadAll(page);
  await insert('paintings', { user: truth.storage.top.sub, code: 'e2e-painting', slug: HOSTILE, note: 'a private thought' });
  const row = events(page).filter({ hasText: 'new in paintings · e2e-painting' });
  await row.waitFor();
  assert.equal(await page.locator('#activity img').count(), 0);
  await insert('chat-system', { user: truth.storage.top.sub, text: 'a private thought' });
  await events(page).filter({ hasText: 'new in chat-system' }).first().waitFor();
  assert.ok(!/private thought/.test(await page.textContent('#activity')));
  // Paused, the list stays and says how much is new.
  const pause = page.locator('#activity').getByRole('button', { name: 'pause' });
  await pause.click();
  const before = await events(page).allTextContents();
  await insert('moods', { mood: 'calm', user: truth.storage.top.sub });
  await page.locator('#activity .found', { hasText: '1 new' }).waitFor();
  assert.deepEqual(await events(page).allTextContents(), before);
  await page.locator('#activity').getByRole('button', { name: 'go on' }).click();
  await events(page).filter({ hasText: 'new in moods' }).first().waitFor();
  // One filters by text and by origin; the address keeps both.
  await page.fill('#activity input', 'paintings');
  assert.ok((await events(page).allTextContents()).every((text) => text.includes('paintings')));
  await page.click('[data-key="events of database"]');
  await page.locator('#activity .empty').waitFor();
  assert.equal(new URL(page.url()).searchParams.get('events'), 'paintings');
  await page.reload();
  await page.locator('#activity').scrollIntoViewIfNeeded();
  await page.locator('#activity .empty', { hasText: 'nothing' }).waitFor();
  await close();
});

test('without its stream the activity is polled, and what happened while the page was hidden is there afterwards', async () => {
  const { page, close } = await open({ tolerated: /EventSource/ });
  await page.route('**/api/db/events', (route) => route.fulfill({ status: 503, body: '' }));
  await page.reload();
  await loadAll(page);
  await hide(page, true);
  await insert('moods', { mood: 'polled' });
  await hide(page, false);
  const first = events(page).first().filter({ hasText: 'new in moods' });
  await first.waitFor({ timeout: 30_000 });
  await close();
});

test('documents are found by a filter, shown without secrets and copied', async () => {
  const { page, close } = await open({ permissions: ['clipboard-read', 'clipboard-write'] });
  await insert('tickets', { for: 'e2e', email: 'jane@example.org', who: HOSTILE, ['__proto__x']: 1 });
  await page.goto(`${address}/#/documents/tickets`);
  await page.reload();
  await page.locator('.documents details').first().waitFor();
  await page.fill('[data-key="filter of tickets"]', '{"for": "e2e"}');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelectorAll('.documents details').length === 1);
  const text = await page.textContent('.documents pre');
  assert.ok(text.includes(HOSTILE) && text.includes('"email": "(not shown)"'), text);
  await page.getByRole('button', { name: 'copy the document' }).click();
  const copied = JSON.parse(await page.evaluate(() => navigator.clipboard.readText()));
  assert.deepEqual([copied.for, copied.who], ['e2e', HOSTILE]);
  await page.fill('[data-key="filter of tickets"]', '{"email": "jane@example.org"}');
  await page.keyboard.press('Enter');
  await page.locator('.browse .notice', { hasText: 'the field email is not shown' }).waitFor();
  await assertAccessible(page, 'documents');
  await page.goto(`${address}/#/documents/secrets`);
  await page.locator('.browse .notice', { hasText: 'holds secrets' }).waitFor();
  await page.goto(`${address}/#/documents/moods`);
  const moods = page.locator('.look', { has: page.locator('[data-key="filter of moods"]') });
  await moods.locator('.documents details').nth(19).waitFor();
  await page.click('[data-key="next documents of moods"]');
  await moods.locator('.tools .facts', { hasText: '21 to' }).waitFor();
  // A refresh of the figures leaves the documents as they are.
  await page.click('.again');
  await settle(page, 'collections', KNOWN);
  await moods.locator('.tools .facts', { hasText: '21 to' }).waitFor();
  await close();
});

test('an address leads to a collection, a service, a backup and a user, and keeps what is open', async () => {
  const { page, close } = await open();
  await page.goto(`${address}/#/collections/paintings`);
  await page.reload();
  await page.locator('.look', { hasText: 'newest document' }).waitFor();
  await page.waitForFunction(() => document.activeElement?.dataset.key === 'open paintings');
  const go = (hash) => page.evaluate((to) => { location.hash = to; }, hash);
  await go('#/services/oven');
  await page.locator('.card[aria-label="oven"] .pairs').waitFor();
  await loadAll(page, { flat: false });
  const id = await page.locator('#backups .each-backup summary').first().evaluate((summary) => summary.dataset.key.replace('backup ', ''));
  await go(`#/backups/${id}`);
  await page.waitForFunction((key) => document.activeElement?.dataset.key === key && document.activeElement.parentElement.open, `backup ${id}`);
  await go(`#/users/${encodeURIComponent(truth.storage.top.sub)}`);
  await page.locator('.found-user', { hasText: 'newest works' }).waitFor();
  const kept = new URL(page.url()).searchParams;
  assert.deepEqual([kept.get('open'), kept.get('services'), kept.get('backups')], ['paintings', 'oven', id]);
  await page.click('[data-key="range month"]');
  await page.reload();
  await loadAll(page, { flat: false });
  assert.equal(await page.getAttribute('[data-key="range month"]', 'aria-pressed'), 'true');
  for (const key of ['open paintings', 'service oven']) assert.equal(await page.getAttribute(`[data-key="${key}"]`, 'aria-expanded'), 'true', key);
  // What nobody has is no error.
  for (const nothing of ['#/collections/nothing', '#/nothing/x', '#/users/%', '#/backups/x']) await go(nothing);
  await close();
});

test('every table can be saved as CSV and as JSON with its exact numbers', async () => {
  const { page, close } = await open();
  await loadAll(page);
  const save = async (key) => {
    const [download] = await Promise.all([page.waitForEvent('download'), page.click(`[data-key="${key}"]`)]);
    return readFile(await download.path(), 'utf8');
  };
  const rows = JSON.parse(await save('json of collections'));
  const boots = rows.find(({ collection }) => collection === 'boots');
  assert.equal(boots.documents, truth.rows.boots);
  assert.ok(rows.some(({ collection }) => collection === HOSTILE));
  const text = await save('csv of collections');
  assert.ok(text.startsWith('collection,category,documents,data,'), text.slice(0, 80));
  assert.ok(text.includes(`\r\n${HOSTILE},`), text);
  const without = await page.$$eval('table', (tables) => tables.filter((table) => table.querySelectorAll('caption .export button').length !== 2).length);
  assert.equal(without, 0);
  // A spreadsheet must not take text for a formula.
  const csv = await page.evaluate(async () => {
    const { table } = await import('/lib/dom.js');
    const { csv } = await import('/lib/export.js');
    return csv(table('t', [{ title: 'a', cell: (text) => text }], ['=1+1', 'a "b", c', '-x']));
  });
  assert.equal(csv, `a\r\n'=1+1\r\n"a ""b"", c"\r\n'-x\r\n`);
  await close();
});

test('shortcuts and commands lead everywhere, and single keys can be switched off', async () => {
  const { page, close } = await open();
  await loadAll(page);
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('?');
  await page.locator('dialog', { hasText: 'Keyboard shortcuts' }).waitFor();
  await assertAccessible(page, 'shortcuts');
  await page.keyboard.press('Escape');
  await page.keyboard.press('g');
  await page.waitForLoadState('networkidle');
  await page.keyboard.press('b');
  await page.waitForFunction(() => location.hash === '#backups');
  await page.keyboard.press('Control+k');
  await page.locator('dialog[aria-label="commands"]').waitFor();
  await page.keyboard.type('collection boots');
  await page.locator('dialog [role="option"]').first().waitFor();
  await assertAccessible(page, 'commands');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => location.hash === '#/collections/boots');
  await page.locator('.look', { hasText: 'newest document' }).waitFor();
  await page.keyboard.press('p');
  await page.locator('dialog[aria-label="commands"]').waitFor();
  await page.keyboard.type(truth.storage.top.sub);
  await page.keyboard.press('Enter');
  await page.locator('.found-user .look').waitFor();
  await page.evaluate(() => {
    document.activeElement.blur();
    scrollTo({ top: 0, behavior: 'instant' });
  });
  await page.keyboard.press('/');
  await page.waitForFunction(() => document.activeElement.matches('#collections input'));
  await page.keyboard.type('g?r');
  assert.equal(await page.locator('dialog').count(), 0, 'typing is no shortcut');
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('?');
  await page.locator('#keys-off').check();
  await page.keyboard.press('Escape');
  await page.keyboard.press('?');
  await page.keyboard.press('Control+k');
  await page.locator('dialog[aria-label="commands"]').waitFor();
  assert.equal(await page.locator('dialog').count(), 1);
  await close();
});

test('the page can be printed and installed', async () => {
  const { page, close } = await open();
  await loadAll(page);
  await page.emulateMedia({ media: 'print' });
  assert.equal(await page.locator('nav').isVisible(), false);
  assert.equal(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), 'rgb(255, 255, 255)');
  const manifest = await page.evaluate(async () => (await fetch(document.querySelector('link[rel="manifest"]').href)).json());
  for (const { src } of manifest.icons) assert.equal(await page.evaluate(async (url) => (await fetch(url)).headers.get('content-type'), `/${src}`), 'image/svg+xml');
  await close();
});

test('during a migration the page lists what remains before the old cluster is switched off', async () => {
  const { page, close } = await open();
  const meta = { asOf: new Date().toISOString(), ttlMs: 15_000, state: 'fresh', errors: [] };
  const row = (name, equal) => ({ name, equal, sourceDocuments: 2, targetDocuments: equal ? 2 : 1, differentDocuments: 0, missingDocuments: equal ? 0 : 1, structure: [], differences: [] });
  const last = { equal: false, sourceChanged: true, startedAt: meta.asOf, durationMs: 1000, collections: [row('moods', true), row('tapes', false)] };
  await page.route('**/api/db/compare', (route) => route.fulfill({ json: { data: { configured: true, running: null, last }, meta } }));
  await page.route('**/api/db/clients', (route) => route.fulfill({ json: { data: { clients: [], expected: [{ name: 'lith', appName: 'lith', state: 'seen' }, { name: 'oven', appName: 'oven', state: 'missing' }] }, meta } }));
  await page.reload();
  await page.locator('#database').scrollIntoViewIfNeeded();
  await page.locator('.remaining li').nth(3).waitFor();
  const lines = await page.locator('.remaining li').allTextContents();
  assert.deepEqual(lines.slice(0, 3), ['▲ not connected to Silo: oven', '▲ the old cluster and Silo differ', '▲ something still writes to the old cluster']);
  await page.locator('.remaining li', { hasText: '● the last good backup of Silo is recent' }).waitFor();
  Object.assign(last, { equal: true, sourceChanged: false });
  await page.evaluate(async () => (await import('/lib/source.js')).source('/api/db/compare').ask());
  await page.locator('.remaining li', { hasText: '● every document of the old cluster is in Silo' }).waitFor();
  await close();
});

/** Fields whose values people or their programs choose. */
const CHOSEN = new Set(['name', 'handle', 'user', 'label', 'slug', 'code', 'collection', 'document', 'key', 'keys', 'prefix', 'bucket', 'sub', 'fields', 'appName', 'driver', 'address', 'caution', 'ownerField', 'dateField', 'detail', 'id', 'reasons', 'notes', 'version']);
const hostile = (value, text, key) => {
  if (typeof value === 'string') return CHOSEN.has(key) ? text : value;
  if (Array.isArray(value)) return value.map((each) => hostile(each, text, key));
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, hostile(each, text, name)]));
};

test('hostile text in every field that people choose is text, and breaks no layout', async () => {
  const { page, close } = await open({ width: 1240 });
  for (const text of [HOSTILE, '\u202Edesrever\u202C \u0000', '__proto__', 'x'.repeat(10_000), '🦊🏳️‍🌈 ünïcödé']) {
    for (const width of [1240, 320]) {
      await page.setViewportSize({ width, height: 900 });
      await page.unrouteAll({ behavior: 'ignoreErrors' });
      await page.route(/\/api\/(?!.*events$)/, async (route) => {
        const answer = await route.fetch().catch(() => null);
        // The page has gone on.
        if (!answer) return;
        const body = await answer.json().catch(() => null);
        // The address is by name, so the list of services keeps its names.
        const plain = /\/api\/services/.test(route.request().url()) ? 'name' : null;
        if (!body?.data) return route.fulfill({ response: answer });
        CHOSEN[plain ? 'delete' : 'add']('name');
        await route.fulfill({ response: answer, json: { ...body, data: hostile(body.data, text) } });
      });
      await page.goto(address);
      for (const id of ['collections', 'database', 'history', 'storage', 'services', 'kidlisp', 'backups', 'activity']) {
        await page.locator(`#${id}`).scrollIntoViewIfNeeded();
        await page.waitForFunction((name) => !document.querySelector(`#${name} .body > .skeleton`), id);
      }
      await page.click('[data-key="service oven"]');
      await page.click('[data-key="every collection"]');
      await page.waitForTimeout(200);
      const where = `${JSON.stringify(text.slice(0, 20))} at ${width}`;
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width, where);
      assert.equal(await page.locator('img, script:not([src="main.js"])').count(), 0, where);
    }
  }
  await page.unrouteAll({ behavior: 'ignoreErrors' });
  await close();
});
