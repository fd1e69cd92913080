// What a running demo must show: every page filled from what really flows, nothing recorded.
import assert from 'node:assert/strict';
import { openPage, SHOTS } from './browser.mjs';

const answer = async (url) => (await fetch(url)).json();

/** Asks until the answer fits: a demo that has just begun has not counted everything yet. */
async function until(url, fits, ms = 30_000) {
  const end = Date.now() + ms;
  for (;;) {
    const data = await answer(url);
    if (fits(data)) return data;
    assert.ok(Date.now() < end, `${url} does not show it after ${ms / 1000} s`);
    await new Promise((done) => setTimeout(done, 300));
  }
}

/** Words that only a slip of the page would write. */
const SLIPS = /\bNaN\b|\bundefined\b|\bnull\b|\[object |Invalid Date|Infinity/;

export function tests({ base, browser }) {
  const on = (f) => async () => {
    const { page, complaints } = await openPage(browser.context, base);
    try {
      await f(page);
      assert.doesNotMatch(await page.innerText('main'), SLIPS);
      assert.deepEqual(complaints, []);
    } finally {
      await page.close();
    }
  };
  const drawn = (page) =>
    page.waitForFunction(
      () => [...document.querySelectorAll('.plot[data-values]')].some((p) => Number(p.dataset.values) > 0),
      undefined,
      { timeout: 15_000 },
    );
  return [
    [
      'real: Pipelines has the row of orders',
      on(async (page) => {
        await page.goto(`${base}/pipelines`);
        const row = page.locator('table[aria-label="Pipelines"] tbody tr:has(a.name:text-is("orders"))');
        await row.waitFor();
        assert.match(await row.innerText(), /LOSING|LATE|DRAINING|OK/);
      }),
      'real',
    ],
    [
      'real: the map shows the pipeline as it is, the charts have data',
      on(async (page) => {
        await page.goto(`${base}/p/orders`);
        await page.waitForSelector('.map .node');
        const names = await page.locator('.map .node .name').allTextContents();
        for (const name of ['producer', 'orders', 'enrich', 'enriched', 'sink'])
          assert.ok(names.includes(name), `${name} is not among ${names.join(', ')}`);
        await drawn(page);
        const legends = await page.locator('.chart').allInnerTexts();
        assert.ok(!legends.join('\n').includes('bound'), 'the bound of the lag is no line of its own');
        await page.screenshot({ path: `${SHOTS}real-pipeline.png` });
      }),
      'real',
    ],
    [
      'real: Loss names enrich and how many',
      on(async (page) => {
        await page.goto(`${base}/loss`);
        const row = page.locator('table[aria-label="Loss ledger"] tbody tr', { hasText: 'LOSS' }).first();
        await row.waitFor();
        assert.match(await row.innerText(), /enrich/);
        const { rows } = await answer(`${base}/api/v1/loss`);
        const found = rows.find((r) => r.verdict === 'LOSS' && r.where === 'enrich');
        assert.ok(found?.lost > 0, 'a number of lost records');
        assert.match(await row.innerText(), /\b[1-9][\d,]*\b/);
        await page.screenshot({ path: `${SHOTS}real-loss.png` });
      }),
      'real',
    ],
    [
      'real: a trace opens with the wait in the queue',
      on(async (page) => {
        await until(`${base}/api/v1/traces?service=enrich&limit=5`, (d) => d.traces?.length > 0);
        await page.goto(`${base}/traces?service=enrich&live=0`);
        await page.locator('table[aria-label="Traces"] tbody tr a').first().click();
        await page.waitForSelector('.span-row .wait', { state: 'attached' });
        const width = await page
          .locator('.span-row .wait')
          .first()
          .evaluate((e) => e.getBoundingClientRect().width);
        assert.ok(width > 0, 'the wait has a width');
        const hatch = await page
          .locator('.span-row .wait')
          .first()
          .evaluate((e) => getComputedStyle(e).backgroundImage);
        assert.match(hatch, /gradient/);
        await page.screenshot({ path: `${SHOTS}real-trace.png` });
      }),
      'real',
    ],
    [
      'real: Explore draws a counter of the application',
      on(async (page) => {
        const q = encodeURIComponent('rate(orders_out[30s])');
        await until(`${base}/api/v1/query?query=${q}`, (d) => d.data?.result?.length > 0);
        await page.goto(`${base}/explore?q=${q}&from=now-5m&to=now`);
        await drawn(page);
      }),
      'real',
    ],
    [
      'real: Self says balanced',
      on(async (page) => {
        await until(`${base}/api/v1/self`, (d) => d.balanced);
        await page.goto(`${base}/self`);
        await page.waitForSelector('main .st:has-text("BALANCED")');
        assert.ok((await page.locator('table[aria-label="Doors of the server"] tbody tr').count()) > 0);
      }),
      'real',
    ],
    [
      'real: no page writes a slip of the program',
      on(async (page) => {
        for (const path of ['/', '/alerts', '/p/orders?tab=stages', '/p/orders?tab=partitions', '/p/orders?tab=loss']) {
          await page.goto(base + path);
          await page.waitForSelector('main h1');
          await page.waitForFunction(() => !document.querySelector('main .skeleton'));
          assert.doesNotMatch(await page.innerText('main'), SLIPS, path);
        }
      }),
      'real',
    ],
  ];
}
