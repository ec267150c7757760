// Every source by every kind of fault: the panel that asks it names the fault and keeps its values, and the others stay as they are.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { KNOWN, PANELS, loadAll, open, settle, test } from './page.mjs';
import { assertAccessible } from './explore.mjs';

/** Each source, and the panels that show it. */
const SOURCES = {
  '/api/overview': ['header'],
  '/api/db/history?categories=false': ['header'],
  '/api/services/alarms': ['header', 'services'],
  '/api/backup/alarms': ['header'],
  '/api/db/collections': ['collections'],
  '/api/db/health': ['database'],
  '/api/db/clients': ['database'],
  '/api/db/access': ['database'],
  '/api/db/compare': ['database'],
  '/api/db/disk': ['database'],
  '/api/db/operations': ['database'],
  '/api/db/history?range=week': ['history'],
  '/api/storage/history': ['history'],
  '/api/storage/usage': ['storage'],
  '/api/storage/buckets': ['storage'],
  '/api/storage/top-users?limit=60': ['storage'],
  '/api/services': ['services'],
  '/api/kidlisp/stats': ['kidlisp'],
  '/api/backup/status': ['backups', 'activity'],
  '/api/backup/continuous': ['backups'],
  '/api/backup/backups': ['backups', 'activity'],
  '/api/db/activity': ['activity'],
  '/api/services/changes': ['activity'],
};

/** Answers with 10 MB. Given to `fulfill`, they would pass through the browser's debugging protocol, which can take longer than the page waits. */
const largeServer = createServer((_request, answer) => {
  answer.writeHead(200, { 'X-Request-Id': 'request-large', 'Content-Type': 'application/json' });
  answer.end(JSON.stringify({ data: 'x'.repeat(10_000_000), meta: {} }));
}).listen(0, '127.0.0.1').unref();
await once(largeServer, 'listening');
const large = `http://127.0.0.1:${largeServer.address().port}/`;

/** Each fault: how it is made, what names it, and whether an answer with a request id arrives. */
const FAULTS = {
  refused: { answer: (route) => route.abort('connectionrefused'), named: 'the gateway cannot be reached' },
  hang: { answer: () => {}, named: 'no answer within 4.5 s' },
  500: { answer: (route) => route.fulfill({ status: 500, headers: { 'X-Request-Id': 'request-500' }, body: 'oops' }), named: 'status 500', request: 'request-500' },
  'invalid JSON': { answer: (route) => route.fulfill({ status: 200, headers: { 'X-Request-Id': 'request-json' }, body: '{"data": {"a' }), named: 'not the JSON that was expected', request: 'request-json' },
  '10 MB': { answer: (route) => route.continue({ url: large }), named: 'longer than 4 MiB', request: 'request-large' },
};

/** Known values in the boxes of a panel, and its charts, services and collections; not its lists of what is going on, which change by themselves. */
const values = (page, panel) => page.$$eval(`#${panel} .box .value, #${panel} figure, #${panel} .card .status, #${panel} .collections tbody tr`,
  (all) => all.filter((each) => each.checkVisibility() && !each.matches('.value:has(.unknown)')).map((each) => Number(each.querySelector('data')?.value ?? NaN)));

/** Asks all sources now, without a click, which would excuse shifts of the layout. */
const ask = (page, url) => page.evaluate(async (only) => {
  const { source } = await import('/lib/source.js');
  source(only).ask();
}, url);

async function meet(page, url, { answer, named, request }, others) {
  const [first, ...more] = SOURCES[url];
  const before = await values(page, first);
  const matches = (asked) => `${asked.pathname}${asked.search}` === url;
  await page.route(matches, answer);
  const began = Date.now();
  await ask(page, url);
  for (const panel of [first, ...more]) {
    await page.locator(`#${panel} .reasons li`, { hasText: named }).first().waitFor({ timeout: 6000 });
    const line = await page.locator(`#${panel} .reasons li`, { hasText: named }).first().textContent();
    if (request) assert.ok(line.includes(request), `${url}: ${line}`);
    if (panel !== 'header') assert.match(await page.textContent(`#${panel} .title .age`), /^\d+ (s|min)$/, `${url}: the age of what is shown`);
  }
  // The page waits 4.5 s for an answer.
  assert.ok(Date.now() - began < 6000, `${url}: named after ${Date.now() - began} ms`);
  for (const panel of others) await settle(page, panel, KNOWN, 2000);
  const after = await values(page, first);
  // Others may have appeared meanwhile: another source of the panel was answered.
  const appeared = after.length - before.length;
  assert.ok(appeared >= 0, `${url}: ${-appeared} values disappeared`);
  assert.ok(after.filter((value) => value === 0).length <= before.filter((value) => value === 0).length + appeared + 1, `${url}: no number becomes 0`);
  await page.unroute(matches);
}

/** Has some sources fail, one after the other, on a page of its own. */
async function failEach(urls, fault) {
  const how = FAULTS[fault];
  const { page, close } = await open();
  await loadAll(page, { flat: false });
  for (const url of urls) {
    await meet(page, url, how, PANELS.filter((panel) => !SOURCES[url].includes(panel)));
    // It is asked again by itself after five seconds; asking at once is quicker here. The last one recovers by itself.
    if (url !== urls.at(-1)) await ask(page, url);
    for (const panel of SOURCES[url].filter((each) => each !== 'header')) await settle(page, panel, KNOWN, 15_000);
    await page.locator(`#${SOURCES[url][0]} .reasons li`, { hasText: how.named }).waitFor({ state: 'detached', timeout: 15_000 });
  }
  await close();
}

test('every source by every fault: its panel names it, and the others stay', async () => {
  const urls = Object.keys(SOURCES);
  // What waits for its limit is divided among pages, beside which the quick faults come one after the other.
  const SHARES = 5;
  const hanging = Array.from({ length: SHARES }, (_, share) => failEach(urls.filter((_each, at) => at % SHARES === share), 'hang'));
  const quick = (async () => {
    for (const fault of Object.keys(FAULTS).filter((each) => each !== 'hang')) await failEach(urls, fault);
  })();
  await Promise.all([...hanging, quick]);
});

test('every source by an answer after three seconds: nothing turns stale', async () => {
  const { page, close } = await open();
  await loadAll(page, { flat: false });
  await page.route((url) => Object.keys(SOURCES).includes(`${url.pathname}${url.search}`), async (route) => {
    await new Promise((resolve) => { setTimeout(resolve, 3000); });
    await route.continue();
  });
  const seen = await page.evaluate(async () => {
    const { refreshAll } = await import('/lib/source.js');
    const states = new Set();
    const watch = setInterval(() => document.querySelectorAll('.panel').forEach(({ dataset }) => states.add(dataset.state)), 100);
    refreshAll();
    await new Promise((resolve) => { setTimeout(resolve, 4400); });
    clearInterval(watch);
    return [...states];
  });
  assert.ok(seen.includes('refreshing') && seen.every((state) => ['fresh', 'refreshing', 'partial'].includes(state)), seen);
  await page.unrouteAll({ behavior: 'wait' });
  await close();
});

test('ten refreshes shift nothing', async () => {
  const { page, close } = await open();
  await loadAll(page, { flat: false });
  await page.evaluate(() => scrollTo(0, 0));
  const shift = await page.evaluate(async () => {
    const { refreshAll } = await import('/lib/source.js');
    let sum = 0;
    const observer = new PerformanceObserver((list) => list.getEntries().forEach(({ value }) => { sum += value; }));
    observer.observe({ type: 'layout-shift' });
    for (let time = 0; time < 10; time += 1) {
      refreshAll();
      await new Promise((resolve) => { setTimeout(resolve, 400); });
    }
    observer.disconnect();
    return sum;
  });
  console.log(`     layout shift ${shift.toFixed(4)}`);
  assert.ok(shift <= 0.02, `${shift}`);
  await close();
});

test('a sum with a missing part says so', async () => {
  const { page, close } = await open();
  await page.route('**/api/db/collections', async (route) => {
    const answer = await route.fetch();
    const { data, meta } = await answer.json();
    Object.assign(data.collections[0], { documents: null, dataBytes: null });
    Object.assign(data.total, { documents: null, dataBytes: null, knownDocuments: 5, knownDataBytes: 50 });
    await route.fulfill({ response: answer, json: { data, meta: { ...meta, state: 'partial', errors: [{ source: 'collection boots', code: 'timed_out', detail: 'the server did not answer within the time limit', since: null }] } } });
  });
  await page.reload();
  await settle(page, 'collections', ['partial']);
  await page.locator('#collections .facts', { hasText: 'not every collection was measured: at least 5 documents and 50 B' }).waitFor();
  await page.locator('#collections .reasons', { hasText: 'collection boots' }).waitFor();
  await close();
});

for (const scheme of ['dark', 'light']) {
  test(`axe finds nothing on the ${scheme} page in any state`, async () => {
    const { page, close } = await open({ scheme });
    await page.route('**/api/**', () => {});
    await page.reload();
    await page.waitForSelector('.skeleton');
    await assertAccessible(page, 'loading');
    await page.unrouteAll({ behavior: 'ignoreErrors' });
    await page.route('**/api/**', (route) => route.fulfill({ status: 503, contentType: 'application/problem+json', json: { detail: 'nothing is known', code: 'unavailable', instance: 'x' } }));
    await page.reload();
    await settle(page, 'collections', ['error']);
    await assertAccessible(page, 'error');
    await page.unrouteAll({ behavior: 'ignoreErrors' });
    await page.reload();
    await loadAll(page);
    await page.route('**/api/**', (route) => route.abort('failed'));
    await page.click('.again');
    for (const panel of PANELS) await settle(page, panel, ['stale']);
    await assertAccessible(page, 'stale');
    // Each state has a shape of its own, without colour: a kind of line, and a word.
    const lines = await page.evaluate(() => ['fresh', 'partial', 'error'].map((state) => {
      const box = document.createElement('div');
      box.className = 'box';
      box.dataset.state = state;
      document.body.append(box);
      const style = getComputedStyle(box).borderLeftStyle;
      box.remove();
      return style;
    }));
    assert.equal(new Set(lines).size, 3, lines);
    const words = await page.$$eval('.title .state', (states) => states.map((state) => state.textContent));
    assert.ok(words.every((text) => /[a-z]/.test(text) && /[◌●◍◐◑▲○▢?]/.test(text)), words);
    const bare = await page.$$eval('figure svg', (drawings) => drawings.filter((drawing) => !drawing.closest('figure').querySelector('table') && !drawing.closest('.card')).length);
    assert.equal(bare, 0, 'every chart has a table');
    await page.unrouteAll({ behavior: 'ignoreErrors' });
    await close();
  });
}
