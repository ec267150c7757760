// A browser, a page that notices everything that should not happen, and the stack's switches.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import readline from 'node:readline';

const require = createRequire(`${process.env.SILO_MODULES}/`);
const { chromium } = require('playwright-core');
export const axe = require('axe-core').source;

export const address = process.env.SILO_ADDRESS;
export const truth = JSON.parse(process.env.SILO_TRUTH);

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Asks for something, and waits until it has happened. */
export async function order(text) {
  process.stdout.write(`@${text}\n`);
  const { value } = await answers.next();
  assert.equal(value, 'done', `the stack did not ${text}`);
}
/** Ends a part of the stack. */
export const stop = (part) => order(`stop ${part}`);
/** Starts it again. */
export const start = (part) => order(`start ${part}`);
/** Makes the simulator of one of AC's services fail. */
export const fail = (name) => order(`fail ${name}`);
/** Inserts a document into a collection of the database. */
export const insert = (collection, document) => order(`insert ${collection} ${JSON.stringify(document)}`);
/** Makes it answer normally again. */
export const restore = (name) => order(`restore ${name}`);

/** Opens the dashboard. Whatever an honest page must never do ends the test in `close`. */
export async function open({ width = 1240, height = 900, scheme = 'dark', clock = false, tolerated = null, ...context } = {}) {
  const page = await browser.newPage({ viewport: { width, height }, colorScheme: scheme, ...context });
  const wrong = [];
  const requests = [];
  page.on('pageerror', (error) => wrong.push(`uncaught: ${error.message}`));
  page.on('dialog', (dialog) => {
    wrong.push(`a dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on('console', (message) => {
    // That a request was answered with an error is the browser's own line, and not the page's fault.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource') && !tolerated?.test(message.text())) wrong.push(`console: ${message.text()}`);
  });
  page.on('response', (answer) => {
    if (answer.status() >= 400) refused.push(`${answer.status()} ${answer.url()}`);
  });
  page.on('requestfailed', (request) => refused.push(`${request.failure()?.errorText} ${request.url()}`));
  page.on('request', (request) => {
    requests.push(request.url());
    if (!request.url().startsWith(address) && !request.url().startsWith('data:')) wrong.push(`asks elsewhere: ${request.url()}`);
  });
  if (clock) await page.clock.install();
  await page.goto(address);
  const close = async () => {
    await page.close();
    assert.deepEqual(wrong, []);
  };
  return { page, requests, close };
}

/** The states of a panel that shows what is so. */
export const KNOWN = ['fresh', 'refreshing', 'partial'];
/** Every panel below the header. */
export const PANELS = ['collections', 'database', 'history', 'storage', 'services', 'kidlisp', 'backups', 'activity'];
/** Those that silo-db-api alone answers. */
export const DATABASE_PANELS = ['collections', 'database', 'history', 'kidlisp', 'activity'];

/** Hides the page as another tab does, or shows it again. */
export const hide = (page, hidden) => page.evaluate((value) => {
  Object.defineProperty(document, 'hidden', { value, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}, hidden);

/** What a panel has once it is loaded. */
const LOADED = {
  collections: '.collections tbody tr',
  history: '#history .charts p, #history .charts figure',
  database: '#database .sparkline',
  storage: '#storage .treemap',
  services: '#services .card .strip',
  kidlisp: '#kidlisp .box',
  backups: '#backups .each-backup',
  activity: '#activity .status',
};

/** Brings one panel after the other into view and waits for it: the browser tells the page only of those that are in view when it draws. `flat` lists all
 * collections without their categories. */
export async function loadAll(page, { flat = true } = {}) {
  // Any key lets the page go from the panel to which its address sent it.
  await page.keyboard.press('Shift');
  for (const id of PANELS) {
    await page.locator(`#${id}`).scrollIntoViewIfNeeded();
    await page.waitForSelector(LOADED[id], { timeout: id === 'storage' ? 60_000 : 30_000 });
  }
  const every = page.getByRole('button', { name: 'every collection' });
  if (flat && await every.isVisible()) await every.click();
}

/** Waits until a panel is in one of these states. */
export const settle = (page, panel, states, timeout = 20_000) =>
  page.waitForFunction(([id, wanted]) => wanted.includes(document.querySelector(`#${id} .title .state`)?.dataset.state), [panel, states], { timeout });

/** The exact value in a box. */
export const boxValue = (page, panel, name) => page.evaluate(([id, wanted]) => {
  const box = [...document.querySelectorAll(`#${id} .box`)].find((each) => each.querySelector('.name')?.textContent === wanted);
  return box?.querySelector('data')?.value ?? box?.querySelector('.value')?.textContent ?? null;
}, [panel, name]);

/** Waits until a box has this exact value. */
export async function untilBox(page, panel, name, value) {
  const deadline = Date.now() + 40_000;
  for (;;) {
    const found = await boxValue(page, panel, name);
    if (Number(found) === value) return;
    assert.ok(Date.now() < deadline, `${name} is ${found} and not ${value}`);
    await page.waitForTimeout(200);
  }
}

/** What was answered with an error in this test, which says much when it fails. */
let refused = [];
const tests = [];
/** Registers a test; its name is a claim. */
export const test = (name, run) => tests.push({ name, run });

/** Runs them one after the other. */
export async function runAll() {
  const wanted = tests.filter(({ name }) => name.includes(process.env.SILO_ONLY ?? ''));
  let failed = 0;
  for (const { name, run } of wanted) {
    refused = [];
    const began = Date.now();
    try {
      await run();
      console.log(`ok   ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL ${name}\n${error.stack}`);
      for (const one of refused.slice(-20)) console.log(`     ${one}`);
    }
  }
  await browser.close();
  console.log(`${wanted.length - failed} of ${wanted.length} passed`);
  process.exit(failed === 0 && wanted.length > 0 ? 0 : 1);
}
