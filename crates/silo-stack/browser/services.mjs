// The Services panel and the header: facts from the simulators, live changes, and correct states.

import assert from 'node:assert/strict';
import { boxValue, fail, loadAll, open, settle, start, stop, test, truth, untilBox, restore } from './page.mjs';

const status = (page, name, wanted, timeout = 20_000) => page.waitForFunction(([card, word]) =>
  document.querySelector(`.card[aria-label="${card}"] .head .status`)?.textContent.endsWith(word), [name, wanted], { timeout });

test('services show what they say of themselves', async () => {
  const { page, close } = await open();
  await loadAll(page);
  for (const name of ['oven', 'session', 'atproto', 'lith', 'silo-db-api', 'silo-storage-api', 'silo-backup']) await status(page, name, 'up');
  await untilBox(page, 'header', 'services up', 7);
  const facts = (name) => page.$$eval(`.card[aria-label="${name}"] .pairs div`, (rows) => Object.fromEntries(rows.map((row) => [row.querySelector('dt').textContent, row.querySelector('dd').textContent])));
  assert.equal((await facts('oven')).baking, '1');
  assert.equal((await facts('session')).visitors, '9');
  await page.waitForFunction(() => document.querySelectorAll('.card[aria-label="atproto"] .sync li').length === 6);
  assert.equal((await facts('atproto')).accounts, '978');
  assert.equal((await facts('lith')).errors, '57');
  const text = await page.textContent('#services');
  assert.ok(!/auth0|203\.0\.113|Odense|zip|\[object/.test(text), text);
  await page.click('[data-key="service oven"]');
  await page.click('[data-key="points of oven"]');
  assert.ok(await page.locator('.card[aria-label="oven"] tbody tr').count() >= 2, 'the charts have a table');
  await close();
});

test('a change of state is on the page as soon as it is reported', async () => {
  const { page, close } = await open();
  await loadAll(page);
  await status(page, 'lith', 'up');
  // The moment of the change, and when the page shows it, by one clock.
  const seen = page.evaluate(() => new Promise((resolve) => {
    const card = document.querySelector('.card[aria-label="lith"] .head');
    new MutationObserver(() => card.querySelector('.status').textContent.includes('degraded') && resolve(Date.now())).observe(card, { childList: true, subtree: true });
  }));
  await fail('lith');
  const shown = await seen;
  const change = await page.evaluate(async () => (await (await fetch('/api/services/lith')).json()).data.changes.find(({ to }) => to === 'degraded'));
  assert.ok(shown - Date.parse(change.at) <= 2000, `reported ${change.at}, shown ${new Date(shown).toISOString()}`);
  await status(page, 'lith', 'down');
  assert.match(await page.textContent('.card[aria-label="lith"] .reason'), /it answered with status 500/);
  await page.waitForFunction(() => [...document.querySelectorAll('#header .box')].some((box) => box.textContent.includes('1 down')), null, { timeout: 30_000 });
  // The problem is first on the page; its link leads to what helps.
  const problem = page.locator('.problems li', { hasText: 'lith is down' });
  await problem.waitFor({ timeout: 30_000 });
  await problem.getByRole('button', { name: 'acknowledge' }).click();
  await page.locator('.problems li', { hasText: 'acknowledged by local' }).waitFor();
  const help = await problem.locator('a').getAttribute('href');
  await restore('lith');
  await status(page, 'lith', 'up');
  await problem.waitFor({ state: 'detached', timeout: 30_000 });
  await page.goto(new URL(help, page.url()).href);
  assert.equal(await page.textContent(':target'), 'A service is red, or degraded');
  await close();
});

test('without silo-services-probe the last values stay, and a new page shows no number', async () => {
  const { page, close } = await open();
  await loadAll(page);
  await untilBox(page, 'header', 'documents', truth.documents);
  await stop('silo-services-probe');
  await page.click('.again');
  await settle(page, 'services', ['stale'], 30_000);
  assert.equal(Number(await boxValue(page, 'header', 'documents')), truth.documents);
  await settle(page, 'collections', ['fresh', 'refreshing', 'partial'], 30_000);

  const late = await open();
  await late.page.waitForFunction(() => document.querySelector('#header .box[data-state="error"]'), null, { timeout: 30_000 });
  const values = await late.page.$$eval('#header .box .value', (all) => all.map((value) => value.textContent));
  assert.ok(values.length === 10 && values.every((value) => !/\d/.test(value)), `unknown is never a number: ${values}`);
  await settle(late.page, 'collections', ['fresh', 'refreshing', 'partial'], 30_000);
  await late.close();

  await start('silo-services-probe');
  await page.waitForFunction(async () => (await fetch('/api/services')).ok, null, { timeout: 30_000 });
  await page.click('.again');
  await settle(page, 'services', ['fresh', 'refreshing'], 60_000);
  await untilBox(page, 'header', 'services up', 7);
  await close();
});
