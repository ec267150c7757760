// The Backups panel and the header's box: real backups, one more on request and watched, and honest states.

import assert from 'node:assert/strict';
import { KNOWN, boxValue, loadAll, open, settle, start, stop, test, truth } from './page.mjs';

const rows = (page) => page.locator('#backups .all-backups > .wide tbody tr');

/** The text of a box of this panel or of the header, with its note. */
const boxText = (page, panel, name) => page.evaluate(([id, wanted]) =>
  [...document.querySelectorAll(`#${id} .box`)].find((each) => each.querySelector('.name')?.textContent === wanted)?.textContent ?? '', [panel, name]);

/** Waits until a box of this panel or of the header counts its age. */
const untilAge = (page, panel, name) => page.waitForFunction(([id, wanted]) =>
  [...document.querySelectorAll(`#${id} .box`)].some((each) => each.querySelector('.name')?.textContent === wanted && / ago$/.test(each.querySelector('.value time')?.textContent)),
[panel, name], { timeout: 40_000 });

test('backups shows the last good one with every document that was generated', async () => {
  const { page, close } = await open();
  await loadAll(page);
  await settle(page, 'backups', KNOWN);
  await untilAge(page, 'backups', 'last good');
  await untilAge(page, 'header', 'last good backup');
  const documents = `${truth.documents.toLocaleString('en')} documents`;
  assert.ok((await boxText(page, 'backups', 'last good')).includes(documents), await boxText(page, 'backups', 'last good'));
  assert.ok((await boxText(page, 'header', 'last good backup')).includes(documents), await boxText(page, 'header', 'last good backup'));
  assert.match(await boxValue(page, 'backups', 'last drill'), /● good/);
  assert.match(await boxValue(page, 'backups', 'next run'), /^in /);
  assert.match(await boxValue(page, 'backups', 'any moment'), /^● (all stored|stored up to)/);
  await page.click('[data-key="twin of moments that can be restored"]');
  const moments = page.locator('#backups table[data-name="moments that can be restored"] tbody tr');
  assert.equal(await moments.count(), 4 * 14, 'a row for each quarter of a day');
  assert.match(await moments.last().textContent(), /not stored$/);
  const newest = rows(page).first();
  assert.equal(Number(await newest.locator('td.number data').first().getAttribute('value')), truth.documents);
  assert.match(await newest.textContent(), /● verified/);
  assert.equal(await rows(page).count(), await page.locator('#backups .each-backup details').count());
  const details = page.locator('#backups .each-backup details').first();
  await details.locator('summary').click();
  assert.match(await details.locator('code').last().textContent(), /^[0-9a-f]{64}$/);
  assert.match(await details.textContent(), /silo-backup restore \S+ --to-file \/run\/secrets\/mongo_restore --database aesthetic_back/);
  await close();
});

test('a backup starts after confirmation, and watched', async () => {
  const { page, requests, close } = await open();
  await loadAll(page);
  const before = await rows(page).count();
  await page.focus('[data-key="run"]');
  await page.keyboard.press('Enter');
  await page.click('[data-key="no"]');
  assert.equal(await page.evaluate(() => document.activeElement.dataset.key), 'run', 'the focus stays');
  assert.equal(requests.filter((url) => url.endsWith('/api/backup/run')).length, 0, 'asking to be sure asks nobody else');
  await page.click('[data-key="run"]');
  // A small backup is quick: what was shown meanwhile is noted as it happens.
  const seen = page.evaluate(() => new Promise((resolve) => {
    const actions = document.querySelector('#backups .scan');
    new MutationObserver(() => actions.querySelector('progress') && resolve(actions.textContent)).observe(actions, { childList: true, subtree: true });
  }));
  const asked = page.waitForResponse((answer) => answer.url().endsWith('/api/backup/run'));
  const watched = page.waitForRequest(/\/api\/backup\/jobs\/[^/]+\/events$/);
  await page.click('[data-key="sure"]');
  assert.equal((await asked).status(), 202);
  assert.match(await seen, /run: \w+/);
  await watched;
  await page.locator('#backups .notice', { hasText: '● a backup of' }).waitFor({ timeout: 60_000 });
  await page.waitForFunction((count) => document.querySelectorAll('#backups .all-backups > .wide tbody tr').length === count, before + 1, { timeout: 30_000 });
  assert.match(await page.locator('#backups .chart figcaption').first().textContent(), /^\d+ backups: /);
  for (const chart of ['stored bytes of backups', 'duration of backups']) {
    await page.click(`[data-key="twin of ${chart}"]`);
    assert.equal(await page.locator(`#backups table[data-name="${chart}"] tbody tr`).count(), before + 1, 'the chart and its table show the same backups');
  }
  await page.locator('[data-key="run"]').waitFor();
  await close();
});

test('without silo-backup its panel alone is stale, and it comes back with what it had', async () => {
  const { page, close } = await open();
  await loadAll(page);
  await settle(page, 'backups', KNOWN);
  const before = await rows(page).count();
  await stop('silo-backup');
  await page.click('.again');
  await settle(page, 'backups', ['stale'], 30_000);
  for (const panel of ['collections', 'storage', 'services']) await settle(page, panel, KNOWN, 30_000);
  assert.equal(await rows(page).count(), before, 'the last values stay');
  await page.click('[data-key="run"]');
  await page.click('[data-key="sure"]');
  await page.locator('#backups .notice', { hasText: '▲' }).waitFor();
  await start('silo-backup');
  await page.waitForFunction(async () => (await fetch('/api/backup/status')).ok, null, { timeout: 30_000 });
  await page.click('.again');
  await settle(page, 'backups', KNOWN, 60_000);
  assert.equal(await rows(page).count(), before);
  // The backup that was asked for, the one before it, and what is stored of the changes between them.
  await page.waitForFunction(() => [...document.querySelectorAll('#backups .box')].some((each) =>
    each.querySelector('.name')?.textContent === 'proven' && each.querySelector('.value')?.textContent === '● equal'), null, { timeout: 90_000 });
  const newest = page.locator('#backups table[data-name="moments that can be restored"] tbody tr').first().locator('td').last();
  assert.match(await newest.textContent(), /^(stored|proven)$/);
  await close();
});
