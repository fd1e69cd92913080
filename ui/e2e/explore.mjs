// Explore: the editor with completion, chart, table, errors, the query in the URL.
import assert from 'node:assert/strict';
import { openPage, SHOTS } from './browser.mjs';

export function tests({ base, browser }) {
  return [
    [
      'explore: complete, run, chart, table',
      async () => {
        const { page, complaints } = await openPage(browser.context, base);
        await page.goto(`${base}/explore`);
        await page.waitForSelector('.cm-content');
        await page.click('.cm-content');
        await page.keyboard.type('rate(weir_collector_rec', { delay: 25 });
        await page.waitForSelector('.cm-tooltip-autocomplete li:has-text("weir_collector_received_total")', {
          timeout: 8000,
        });
        await page.screenshot({ path: `${SHOTS}explore-completion.png` });
        // Keys are not the list's for 75 ms after it opens or changes, so that nobody accepts what was not seen.
        await page.waitForSelector('.cm-tooltip-autocomplete li[aria-selected]');
        await page.waitForTimeout(250);
        await page.keyboard.press('Enter');
        await page.waitForSelector('.cm-content:has-text("weir_collector_received_total")');
        await page.keyboard.type('[1m]');
        await page.keyboard.press('Escape');
        await page.click('.cm-content');
        await page.keyboard.press('Enter');
        await page
          .waitForURL((u) => u.searchParams.get('q') === 'rate(weir_collector_received_total[1m])')
          .catch(() => assert.fail(`query is ${new URL(page.url()).searchParams.get('q')}`));
        await page.waitForSelector('.plot canvas');
        await page.click('.seg button:text-is("Table")');
        await page.waitForSelector('table[aria-label^="Newest value"] tbody tr');
        await page.click('.seg button:text-is("Chart")');
        await page.click('.chart-head button:text-is("Table")');
        await page.waitForSelector('[aria-label$="as numbers"] tbody tr');
        assert.deepEqual(complaints, []);
        await page.close();
      },
      'mock',
    ],
    [
      'explore: a wrong query says what and where',
      async () => {
        const { page, complaints, forgive } = await openPage(browser.context, base);
        forgive(/400/);
        await page.goto(`${base}/explore?q=${encodeURIComponent('rate(up[5m]')}`);
        await page.waitForSelector('[role=alert]:has-text("parse error")');
        await page.screenshot({ path: `${SHOTS}explore-error.png` });
        assert.deepEqual(complaints, []);
        await page.close();
      },
    ],
    [
      'explore: live points come without asking again',
      async () => {
        const { page, complaints } = await openPage(browser.context, base);
        let asked = 0;
        page.on('request', (r) => {
          if (r.url().includes('query_range')) asked++;
        });
        await page.goto(`${base}/explore?q=weir_pipeline_lag_seconds&from=now-5m&to=now`);
        await page.waitForSelector('.plot canvas');
        const label = () => page.getAttribute('.plot', 'aria-label');
        const before = await label();
        await page.waitForTimeout(4000);
        assert.notEqual(await label(), before);
        assert.ok(asked <= 1, `${asked} requests`);
        assert.deepEqual(complaints, []);
        await page.close();
      },
      'mock',
    ],
  ];
}
