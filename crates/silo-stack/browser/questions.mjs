// Ten questions of an operator, each answered after at most two clicks on the page as it opens.

import assert from 'node:assert/strict';
import { open, test, truth } from './page.mjs';

/** Each question: its clicks, and the text that answers it. The page brings panels into view by its own links; scrolling is no click. */
const QUESTIONS = [
  { question: 'is the last backup good, and when was it drilled', clicks: ['nav a[href="#backups"]'], answer: ['#backups .boxes', /last good.*ago.*last drill● good.*ago/s] },
  { question: 'which collection grew this week', clicks: ['nav a[href="#history"]'], answer: ['#history', /What grew within a week/] },
  { question: 'who uses the most space', clicks: ['nav a[href="#storage"]', '[data-key="twin of users by bytes"]'], answer: ['#storage .tree tbody tr:first-child', () => new RegExp(truth.storage.top.bytes > 1024 ? 'iB' : 'B')] },
  { question: 'what happened at three this morning', clicks: ['nav a[href="#activity"]', '.hours button:has(span:text-is("03"))'], answer: ['#activity .spark figcaption', /What happened from 03:00 to 04:00/] },
  { question: 'is anything about to fill up', clicks: [], answer: ['#header .box[href="#database"]:has-text("disk used")', /disk used.*% ?.*free/s] },
  { question: 'what is wrong right now', clicks: [], answer: ['#header .overall', /fresh|partial|stale/] },
  { question: 'how much of the database could be dropped', clicks: [], answer: ['#collections .bars figcaption', /of the data is disposable/] },
  { question: 'is oven up, and how fast does it answer', clicks: ['nav a[href="#services"]'], answer: ['.card[aria-label="oven"]', /● up.*ms.*24 h/s] },
  { question: 'how is last night\'s backup restored', clicks: ['nav a[href="#backups"]', '#backups .each-backup summary'], answer: ['#backups .each-backup details', /silo-backup restore/] },
  { question: 'who is connected to the database', clicks: ['nav a[href="#database"]'], answer: ['#database .clients', /silo-db-api/] },
];

for (const { question, clicks, answer: [where, text] } of QUESTIONS) {
  test(`${question}: answered in ${clicks.length} clicks`, async () => {
    assert.ok(clicks.length <= 2);
    const { page, close } = await open({ width: 1440 });
    for (const click of clicks) await page.locator(click).first().click();
    const wanted = typeof text === 'function' ? text() : text;
    await page.waitForFunction(([selector, source, flags]) => [...document.querySelectorAll(selector)].some((each) => new RegExp(source, flags).test(each.textContent)), [where.replace(/:has-text\("([^"]+)"\)/, ''), wanted.source, wanted.flags], { timeout: 30_000 });
    await close();
  });
}
