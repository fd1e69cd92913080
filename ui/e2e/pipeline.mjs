// One pipeline: what its first screen tells, where it leads, and what typing must not lose.
import assert from 'node:assert/strict';
import { openPage } from './browser.mjs';

export function tests({ base, browser, control }) {
  const on =
    (f, look = {}) =>
    async () => {
      const opened = await openPage(browser.context, base, look);
      try {
        await f(opened.page, opened.forgive);
        assert.deepEqual(opened.complaints, []);
      } finally {
        Object.assign(control, { empty: false, fail: '' });
        await opened.page.close();
      }
    };
  return [
    [
      'pipeline: until when stands under the cause on every tab, and leads to the what-if by keyboard',
      on(async (page) => {
        const line = 'section[aria-label="Until when"]';
        await page.goto(`${base}/p/orders?tab=stages&live=0`);
        await page.waitForSelector(`${line} :text("never at these rates")`);
        assert.match(await page.innerText(line), /deletes unread data\s+in\s+\d+\sh/);
        assert.ok((await page.locator(line).boundingBox()).y < 400, 'it is on the first screen');
        await page.focus(`${line} button:text-is("What if")`);
        await page.keyboard.press('Enter');
        await page.waitForURL((u) => u.searchParams.get('wi') === 'open' && !u.searchParams.has('tab'));
        await page.waitForSelector('.whatif .says');
        await page.waitForFunction(() => document.activeElement?.id === 'what-if');
        await page.goto(`${base}/p/billing?live=0`);
        await page.waitForSelector('.map .node');
        assert.equal(await page.$(line), null, 'a pipeline that keeps up has no such line');
      }),
      'mock',
    ],
  ];
}
