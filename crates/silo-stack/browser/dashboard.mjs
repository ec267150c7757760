// The dashboard as its reader sees it: real numbers, honest states, and nothing that should not be there.

import assert from 'node:assert/strict';
import { DATABASE_PANELS, KNOWN, PANELS, address, axe, boxValue, hide, loadAll, open, runAll, settle, start, stop, test, truth, untilBox } from './page.mjs';
import './storage.mjs';
import './services.mjs';
import './backups.mjs';

test('the figures are those that were generated', async () => {
  const { page, close } = await open();
  await loadAll(page);
  // The collection that was added last is seen by the next measurement.
  await page.waitForFunction((rows) => document.querySelectorAll('.collections tbody tr').length === rows, Object.keys(truth.rows).length);
  await untilBox(page, 'header', 'documents', truth.documents);
  await untilBox(page, 'header', 'database', truth.dataBytes);
  await untilBox(page, 'header', 'users', truth.users);
  await untilBox(page, 'header', 'handles', truth.handles);
  await untilBox(page, 'header', 'keeps', truth.kept);
  assert.equal(Number(await boxValue(page, 'kidlisp', 'pieces')), truth.pieces);
  assert.equal(Number(await boxValue(page, 'kidlisp', 'pending')), truth.pending);
  assert.equal(Number(await boxValue(page, 'kidlisp', 'failed')), truth.failed);
  const rows = await page.$$eval('.collections tbody tr', (lines) => lines.map((line) => [
    line.querySelector('.open').lastChild.textContent, Number(line.querySelector('td data').value)]));
  assert.deepEqual(Object.fromEntries(rows), truth.rows);
  await close();
});

test('collections are grouped by category, the largest first', async () => {
  const { page, close } = await open();
  await loadAll(page, { flat: false });
  const sums = () => page.$$eval('.collections tr.group', (lines) => lines.map((line) => Number(line.querySelectorAll('td data')[1]?.value)));
  const largest = await sums();
  assert.ok(largest.length >= 5 && largest.every((size, at) => at === 0 || size <= largest[at - 1]), largest);
  assert.equal(await page.locator('.collections tbody tr').count(), largest.length, 'collapsed');
  await page.focus('[data-key="category content"]');
  await page.keyboard.press('Enter');
  await page.locator('[data-key="open moods"]').waitFor();
  assert.equal(await page.getAttribute('[data-key="category content"]', 'aria-expanded'), 'true');
  await page.fill('input[type=search]', 'boots');
  assert.equal(await page.locator('.collections tr.group').count(), 0, 'a filter looks into every category');
  await page.locator('[data-key="open boots"]').waitFor();
  await close();
});

test('the history has a sample in every range, and draws more of them with a gap and a table', async () => {
  const { page, close } = await open();
  const points = { from: '2026-03-10T00:00:00Z', stepSeconds: 900, newest: '2026-03-10T01:00:00Z', categories: [], growth: [{ collection: 'moods', since: '2026-03-10T00:15:00Z', documents: 4, dataBytes: -400 }] };
  for (const name of ['dataBytes', 'users', 'connections', 'readsPerSecond', 'writesPerSecond', 'diskUsedBytes']) points[name] = [null, null, null, null, null];
  await page.route('**/api/db/history?range=day', (route) => route.fulfill({ json: { data: { range: 'day', documents: [null, 10, null, 30, 20], ...points }, meta: { asOf: points.newest, ttlMs: 900_000, state: 'fresh', errors: [] } } }));
  await loadAll(page);
  const documents = new Intl.NumberFormat('en').format(truth.documents);
  for (const range of ['month', 'quarter', 'week']) {
    await page.click(`[data-key="range ${range}"]`);
    await page.locator('#history .charts', { hasText: `documents: ${documents}` }).waitFor();
  }
  await page.click('[data-key="range day"]');
  await page.locator('#history figcaption', { hasText: 'documents: 20, between 10 and 30' }).waitFor();
  assert.equal(await page.getAttribute('#history .plot path', 'd'), 'M0 98.00h.3M2 2.00h.3L3 50.00');
  assert.equal(await page.locator('#history .charts tbody tr').count(), 3, 'its table has the known values');
  await page.locator('#history tr', { hasText: 'moods' }).filter({ hasText: '+4' }).waitFor();
  await page.click('[data-key="open moods"]');
  await page.locator('.look', { hasText: 'documents over time: one sample so far' }).waitFor();
  await close();
});

test('a hostile name is text', async () => {
  const { page, close } = await open();
  await loadAll(page);
  const name = Object.keys(truth.rows).find((each) => each.startsWith('<img'));
  await page.click(`[data-key="open ${name.replaceAll('"', '\\"')}"]`);
  await page.getByText('no documents to look at').waitFor();
  assert.equal(await page.locator('.collections img').count(), 0);
  await close();
});

test('the first view is light and asks only here', async () => {
  const { page, requests, close } = await open({ serviceWorkers: 'block' });
  const session = await page.context().newCDPSession(page);
  await session.send('Network.enable');
  let transferred = 0;
  session.on('Network.loadingFinished', ({ encodedDataLength }) => { transferred += encodedDataLength; });
  await session.send('Network.setCacheDisabled', { cacheDisabled: true });
  // What the first load still asks for is not the second's.
  await page.waitForLoadState('networkidle');
  requests.length = 0;
  transferred = 0;
  await page.reload();
  await page.waitForFunction(() => document.querySelector('#header .box data'));
  await page.waitForSelector('.collections tbody tr');
  await page.waitForLoadState('networkidle');
  const first = transferred;
  // The page, its styles and its modules, until the first question to an API; panels load after that, each when it comes near.
  const files = requests.slice(0, requests.findIndex((url) => url.includes('/api/'))).filter((url) => !url.startsWith('data:'));
  assert.ok(files.length > 3 && files.length <= 10, `the first view takes ${files.length} files: ${files}`);
  const asked = requests.filter((url) => url.includes('/api/')).map((url) => new URL(url).pathname);
  assert.equal(asked[0], '/api/overview', 'the header is filled from one request');
  assert.equal(asked.filter((path) => path === '/api/overview').length, 1);
  await loadAll(page);
  console.log(`     ${files.length} files and ${(first / 1024).toFixed(1)} KiB for the first view; ${requests.length} requests and ${(transferred / 1024).toFixed(1)} KiB for the whole page`);
  assert.ok(first <= 60 * 1024, `the first view takes ${first} bytes`);
  assert.ok(transferred <= 130 * 1024, `the whole page takes ${transferred} bytes`);
  assert.ok(first > 5 * 1024, 'this counts something');
  await close();
});

test('one sorts, filters and opens with the keyboard alone', async () => {
  const { page, close } = await open();
  await loadAll(page);
  const names = () => page.$$eval('.collections .open', (buttons) => buttons.map((button) => button.lastChild.textContent));
  await page.focus('[data-key="sort name"]');
  await page.keyboard.press('Enter');
  const byName = await names();
  assert.deepEqual(byName, byName.toSorted());
  assert.equal(await page.getAttribute('.collections th[aria-sort]', 'aria-sort'), 'ascending');
  await page.keyboard.press('Enter');
  assert.deepEqual(await names(), byName.toReversed(), 'the focus stays, and the second press turns the order');
  await page.focus('input[type=search]');
  await page.keyboard.type('logs');
  const logs = await names();
  assert.ok(logs.includes('boots') && !logs.includes('moods'), logs);
  await page.focus('[data-key="open boots"]');
  await page.keyboard.press('Enter');
  await page.getByText('before dropping it').waitFor();
  await page.getByText('newest document').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.dataset.key), 'open boots');
  await page.keyboard.press('Enter');
  assert.equal(await page.locator('tr.details').count(), 0);
  await close();
});

test('a panel whose module could not be loaded is loaded by the next attempt', async () => {
  const { page, close } = await open();
  let dropped = 0;
  await page.route('**/panels/backups.js', (route) => {
    dropped += 1;
    return route.abort('failed');
  });
  await loadAll(page);
  assert.equal(dropped, 1);
  await close();
});

test('a hidden page asks nothing', async () => {
  const { page, requests, close } = await open({ clock: true });
  await loadAll(page);
  await hide(page, true);
  await page.waitForLoadState('networkidle');
  const before = requests.length;
  await page.clock.runFor(10 * 60_000);
  assert.equal(requests.length, before);
  const asked = page.waitForRequest(/\/api\//);
  await hide(page, false);
  await page.clock.runFor(1000);
  await asked;
  await close();
});

test('with the network cut every panel turns stale by itself and keeps its numbers', async () => {
  const { page, close } = await open({ clock: true });
  await loadAll(page);
  const before = await boxValue(page, 'header', 'documents');
  await page.context().setOffline(true);
  await page.clock.runFor(20 * 60_000);
  for (const panel of PANELS) await settle(page, panel, ['stale']);
  assert.equal(await boxValue(page, 'header', 'documents'), before);
  const age = await page.textContent('#collections .title .age');
  assert.match(age, /^(1\d|2\d) min$/, 'the age goes on');
  assert.match(await page.textContent('#collections .reasons'), /the gateway cannot be reached|no answer within 4.5 s/);
  await page.context().setOffline(false);
  await page.click('.again');
  for (const panel of PANELS) await settle(page, panel, KNOWN);
  await close();
});

test('a stopped service marks its panels as stale, and they come back', async () => {
  const { page, close } = await open();
  await loadAll(page);
  const before = await boxValue(page, 'header', 'documents');
  await stop('silo-db-api');
  await page.click('.again');
  for (const panel of DATABASE_PANELS) await settle(page, panel, ['stale'], 90_000);
  assert.equal(await boxValue(page, 'header', 'documents'), before, 'the last value stays');
  assert.match(await page.textContent('#announcement'), /silo is stale/);
  assert.match(await page.textContent('.overall .state'), /stale/);

  const late = await open();
  await settle(late.page, 'collections', ['error']);
  await late.page.waitForFunction(() => document.querySelector('#header .box[data-state="stale"]'), null, { timeout: 30_000 });
  assert.equal(await boxValue(late.page, 'header', 'documents'), before, 'a new page shows the last value, marked as stale');
  await late.close();

  await start('silo-db-api');
  await page.click('.again');
  for (const panel of DATABASE_PANELS) await settle(page, panel, KNOWN, 90_000);
  assert.equal(await boxValue(page, 'header', 'documents'), before);
  await close();
});

test('a stopped mongod is down on the page while the rest stays as stale', async () => {
  const { page, close } = await open();
  await loadAll(page);
  const before = await boxValue(page, 'header', 'documents');
  await stop('mongo');
  await page.waitForFunction(() => document.querySelector('#database .box .value').textContent.includes('down'), null, { timeout: 30_000 });
  await settle(page, 'database', ['stale'], 30_000);
  await settle(page, 'collections', ['stale'], 60_000);
  assert.match(await page.textContent('#database .reasons'), /no server answers at the configured address/);
  assert.equal(await boxValue(page, 'header', 'documents'), before);
  const tab = (wanted, mark) => page.waitForFunction(([title, marked]) => document.title.startsWith(title) && document.querySelector('link[rel="icon"]').href.includes('ff3b30') === marked, [wanted, mark], { timeout: 60_000 });
  await tab('mongod down', true);
  await start('mongo');
  await page.waitForFunction(() => document.querySelector('#database .box .value').textContent.includes('up'), null, { timeout: 60_000 });
  await page.click('.again');
  for (const panel of DATABASE_PANELS) await settle(page, panel, KNOWN, 90_000);
  await tab('silo', false);
  await close();
});

for (const scheme of ['dark', 'light']) {
  test(`every pair of ${scheme} colours is readable`, async () => {
    const { page, close } = await open({ scheme });
    const pairs = await page.evaluate(() => {
      const resolve = (name) => {
        const probe = document.createElement('i');
        probe.style.color = `var(${name})`;
        document.body.append(probe);
        const [r, g, b, a = 1] = getComputedStyle(probe).color.match(/[\d.]+/g).map(Number);
        probe.remove();
        return [r, g, b, a];
      };
      const over = ([r, g, b, a], [x, y, z]) => [r * a + x * (1 - a), g * a + y * (1 - a), b * a + z * (1 - a)];
      const light = (rgb) => rgb.slice(0, 3).map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)).reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
      const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
      const ground = resolve('--bg');
      const surfaces = { page: ground, box: over(resolve('--box'), ground), hover: over(resolve('--hover'), ground) };
      const pairs = [];
      for (const [name, surface] of Object.entries(surfaces)) {
        for (const token of ['text', 'dim', 'pink', 'cyan', 'green', 'gold', 'red']) pairs.push([token, name, contrast(resolve(`--${token}`), surface), 4.5]);
        pairs.push(['edge', name, contrast(over(resolve('--edge'), surface), surface), 3]);
      }
      return pairs;
    });
    assert.equal(pairs.length, 24);
    assert.deepEqual(pairs.filter(([, , contrast, least]) => !(contrast >= least)), []);
    await close();
  });

  test(`axe finds nothing on the ${scheme} page`, async () => {
    const { page, close } = await open({ scheme });
    await loadAll(page);
    await page.click('[data-key="open boots"]');
    await page.getByText('newest document').waitFor();
    await page.evaluate(axe);
    const { violations, passes } = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
    assert.ok(passes.length > 10);
    assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => node.target).join(' ')}`), []);
    await close();
  });
}

test('nothing moves sideways at 320 px and every target is 24 px', async () => {
  const { page, close } = await open({ width: 320, height: 640 });
  await loadAll(page);
  await page.click('[data-key="open boots"]');
  await page.getByText('newest document').waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 320);
  const small = await page.$$eval('button, input, summary, nav a', (targets) => targets.filter((each) => each.checkVisibility()).map((each) => [each.textContent, each.getBoundingClientRect()]).filter(([, { width, height }]) => width < 24 || height < 24).map(([text]) => text));
  assert.deepEqual(small, []);
  await close();
});

test('nothing is asked for after the last watcher has left', async () => {
  const { page, close } = await open();
  // A page without panels, which would set timers of their own.
  await page.goto(`${address}/healthz`);
  const [watched, left] = await page.evaluate(async () => {
    const { source } = await import('/lib/source.js');
    const timer = window.setTimeout;
    let timers = 0;
    window.setTimeout = (...rest) => { timers += 1; return timer(...rest); };
    const own = source('/api/db/users/count');
    const stop = await new Promise((resolve) => { const leave = own.watch(() => resolve(leave)); });
    const before = timers;
    stop();
    await own.ask();
    return [before, timers - before];
  });
  assert.ok(watched > 0, 'it is asked again while it is watched');
  assert.equal(left, 0, 'and not afterwards');
  await close();
});

test('reduced motion is respected', async () => {
  const { page, close } = await open({ reducedMotion: 'reduce' });
  await loadAll(page);
  const moving = await page.evaluate(() => document.getAnimations().length + (getComputedStyle(document.documentElement).scrollBehavior === 'smooth' ? 1 : 0));
  assert.equal(moving, 0);
  await close();
});

test('without JavaScript the page says where the numbers are', async () => {
  const { page, close } = await open({ javaScriptEnabled: false });
  await page.locator('.noscript').waitFor();
  await close();
});

// These add documents, so that the figures are no longer those that were generated.
await import('./explore.mjs');
await import('./faults.mjs');
await import('./questions.mjs');

if (process.env.SILO_PICTURES) {
  for (const [name, width, scheme] of [['dark-wide', 1240, 'dark'], ['light-wide', 1240, 'light'], ['dark-narrow', 390, 'dark'], ['light-narrow', 390, 'light']]) {
    test(`a picture: ${name}`, async () => {
      const { page, close } = await open({ width, scheme });
      await loadAll(page, { flat: false });
      await page.evaluate(() => scrollTo(0, 0));
      await page.screenshot({ path: `${process.env.SILO_PICTURES}/${name}.png`, fullPage: true });
      await close();
    });
  }
}

console.log(`     ${address}`);
await runAll();
