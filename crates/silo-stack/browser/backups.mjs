// The Backups panel: real backups, one more on request and watched, and honest states.

import assert from 'node:assert/strict';
import { boxValue, loadAll, open, settle, start, stop, test, truth } from './page.mjs';

test('backups shows what was backed up, that it was restored to see, and what is next', async () => {
  const { page, close } = await open();
  await loadAll(page);
  await settle(page, 'backups', ['fresh', 'refreshing']);
  const documents = await page.evaluate(() => {
    const all = [...document.querySelectorAll('#backups table')].find((table) => table.caption.textContent === 'backups');
    return Number(all.querySelector('tbody td.number data').value);
  });
  assert.equal(documents, truth.backedUp);
  assert.match(await boxValue(page, 'backups', 'last good'), / ago$/);
  assert.match(await boxValue(page, 'backups', 'last drill'), /came back/);
  assert.match(await boxValue(page, 'backups', 'next run'), /^in /);
  assert.match(await boxValue(page, 'header', 'last good backup'), / ago$/);
  const details = page.locator('#backups .each-backup details').first();
  await details.locator('summary').click();
  assert.match(await details.locator('code').textContent(), /^[0-9a-f]{64}$/);
  await close();
});

test('one more backup is asked for, twice before it is made, and watched', async () => {
  const { page, close } = await open();
  await loadAll(page);
  const before = await page.locator('#backups .each-backup details').count();
  await page.click('[data-key="run"]');
  await page.click('[data-key="no"]');
  await page.click('[data-key="run"]');
  const asked = page.waitForResponse((answer) => answer.url().endsWith('/api/backup/run'));
  await page.click('[data-key="sure"]');
  assert.equal((await asked).status(), 202);
  await page.getByText('a backup of').waitFor({ timeout: 60_000 });
  await page.waitForFunction((count) => document.querySelectorAll('#backups .each-backup details').length === count, before + 1, { timeout: 30_000 });
  await close();
});

test('without silo-backup its panel alone is stale, and it comes back with what it had', async () => {
  const { page, close } = await open();
  await loadAll(page);
  await stop('silo-backup');
  await page.click('.again');
  await settle(page, 'backups', ['stale'], 30_000);
  await settle(page, 'collections', ['fresh', 'refreshing', 'partial'], 30_000);
  assert.match(await boxValue(page, 'backups', 'last good'), / ago$/);
  await start('silo-backup');
  await page.waitForFunction(async () => (await fetch('/api/backup/status')).ok, null, { timeout: 30_000 });
  await page.click('.again');
  await settle(page, 'backups', ['fresh', 'refreshing'], 60_000);
  await close();
});
