// The dashboard as the droplet serves it: signed in, over HTTPS, with /db, and honest while mongod is away.

import assert from 'node:assert/strict';
import { DATABASE_PANELS, KNOWN, PANELS, address, loadAll, open, order, runAll, settle, start, stop, test } from './page.mjs';

const SIGNED_IN = { httpCredentials: { username: 'demo', password: 'demo-demo' }, ignoreHTTPSErrors: true };

test('page: every panel has what it shows', async () => {
  const { page, close } = await open(SIGNED_IN);
  await loadAll(page);
  for (const panel of PANELS) await settle(page, panel, KNOWN, 60_000);
  assert.match(page.url(), /^https:/);
  await close();
});

test('page: it leads to /db, which browses', async () => {
  const { page, close } = await open({ ...SIGNED_IN, tolerated: /api\/overview' from origin 'null' has been blocked/ });
  await page.click('footer a[href="/db/"]');
  await page.locator('h3 a[href="/db/db/aesthetic/"]').first().click();
  await page.locator('h3 a[href="/db/db/aesthetic/users"]').first().click();
  await page.waitForURL(/\/db\/db\/aesthetic\/users/);
  assert.ok(await page.locator('text=/user|sub|code/').count() > 0, 'documents are shown');
  const read = await page.evaluate(() => fetch('/api/overview').then((answer) => answer.status, () => 'refused'));
  assert.equal(read, 'refused', 'a script in it cannot read the other paths');
  assert.notEqual(await page.evaluate(() => getComputedStyle(document.querySelector('.container')).paddingLeft), '0px', 'it has its style sheet');
  if (process.env.SILO_PICTURES) await page.screenshot({ path: `${process.env.SILO_PICTURES}/db.png` });
  await close();
});

test('page: while mongod is away the last values stay with their age, and the page recovers by itself', async () => {
  const { page, close } = await open(SIGNED_IN);
  await loadAll(page);
  for (const panel of PANELS) await settle(page, panel, KNOWN, 60_000);
  const rows = await page.locator('.collections tbody tr').count();
  await stop('mongo');
  // The history is not in mongod.
  for (const panel of DATABASE_PANELS.filter((name) => name !== 'history')) await settle(page, panel, ['stale'], 120_000);
  assert.equal(await page.locator('.collections tbody tr').count(), rows, 'the last values stay');
  for (const panel of ['history', 'storage']) await settle(page, panel, KNOWN);
  if (process.env.SILO_PICTURES) await page.screenshot({ path: `${process.env.SILO_PICTURES}/away.png`, fullPage: true });
  await start('mongo');
  for (const panel of DATABASE_PANELS) await settle(page, panel, KNOWN, 120_000);
  await close();
});

test('memory: the page is open while a backup and a scan run', async () => {
  const { page, close } = await open(SIGNED_IN);
  await loadAll(page);
  await order('work');
  for (const panel of PANELS) await settle(page, panel, KNOWN, 60_000);
  await close();
});

if (process.env.SILO_PICTURES) {
  for (const [name, width, scheme] of [['dark-wide', 1240, 'dark'], ['light-narrow', 390, 'light']]) {
    test(`page: a picture, ${name}`, async () => {
      const { page, close } = await open({ ...SIGNED_IN, width, colorScheme: scheme });
      await loadAll(page);
      await page.screenshot({ path: `${process.env.SILO_PICTURES}/droplet-${name}.png`, fullPage: true });
      await close();
    });
  }
}

await runAll();
