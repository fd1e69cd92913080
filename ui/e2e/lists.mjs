// Lists by keyboard and on narrow screens: the cursor is seen, and so is the figure that matters.
import assert from 'node:assert/strict';
import { openPage } from './browser.mjs';
import { axe } from './sight.mjs';

export function tests({ base, browser, control }) {
  const on = (f) => async () => {
    const opened = await openPage(browser.context, base);
    try {
      await f(opened.page);
      assert.deepEqual(opened.complaints, []);
    } finally {
      control.many = 0;
      await opened.page.close();
    }
  };
  return [
    [
      'lists: j and k choose the next row of the ledger, Enter opens its incident',
      on(async (page) => {
        await page.goto(`${base}/loss?live=0`);
        const chosen = (i) => page.waitForSelector(`table[aria-label="Loss ledger"] tr[data-row="${i}"].sel`);
        await chosen(0);
        await page.waitForSelector('.loss-detail h2:has-text("clicks, ")');
        const cell = (row) => page.innerText(`table[aria-label="Loss ledger"] tr:has-text("${row}") td:nth-child(5)`);
        assert.equal(await cell('LATE'), '1,200 outstanding');
        assert.equal(await cell('FILTERED'), '60 fewer out');
        await page.keyboard.press('j');
        await chosen(1);
        await page.waitForURL((u) => u.searchParams.get('sel')?.includes('iot-west'));
        await page.waitForSelector('.loss-detail h2:has-text("iot-west, ")');
        await page.keyboard.press('j');
        await chosen(2);
        assert.equal((await page.$$('table[aria-label="Loss ledger"] tr.sel')).length, 1);
        await page.keyboard.press('k');
        await chosen(1);
        await page.waitForSelector('.loss-detail a:text-is("Open the incident")');
        await page.keyboard.press('Enter');
        await page.waitForSelector('.headline .big:has-text("records lost")');
        await page.waitForSelector('main h1:text-is("iot-west")');
        await page.keyboard.press('Escape');
        await chosen(1);
      }),
      'mock',
    ],
    [
      'lists: the row under the cursor stays in sight in a long list',
      on(async (page) => {
        await page.goto(`${base}/groups?live=0`);
        const row = (i) => `table[aria-label="Consumer groups"] tr[data-row="${i}"]`;
        const inSight = (i) =>
          page.waitForFunction((s) => {
            const tr = document.querySelector(`${s}.sel`);
            if (!tr) return false;
            const r = tr.getBoundingClientRect();
            const head = tr.closest('table').querySelector('th').getBoundingClientRect();
            return r.top >= head.bottom - 1 && r.bottom <= tr.closest('.tall-list').getBoundingClientRect().bottom + 1;
          }, row(i));
        const times = async (key, n) => {
          for (let i = 0; i < n; i++) await page.keyboard.press(key);
        };
        await page.waitForSelector(row(0));
        await page.keyboard.press('j');
        await inSight(0);
        await page.evaluate(() => {
          const box = document.querySelector('.tall-list');
          box.scrollTop = box.scrollHeight / 2;
        });
        await page.waitForSelector(row(0), { state: 'detached' });
        await page.keyboard.press('j');
        await inSight(1);
        await times('j', 30);
        await inSight(31);
        await times('k', 30);
        await inSight(1);
      }),
      'mock',
    ],
    [
      'lists: narrow lists say below the name what their columns hide',
      on(async (page) => {
        await page.setViewportSize({ width: 390, height: 844 });
        await page.goto(`${base}/pipelines?live=0`);
        const told = 'tr:has(a.name:text-is("clicks")) .told';
        await page.waitForSelector(told);
        assert.match(await page.innerText(told), /^[\d,]+ lost · .+ old at the sink · sink-es$/);
        const box = await page.locator(told).boundingBox();
        assert.ok(box.x + box.width <= 390, 'in sight without scrolling');
        control.many = 1000;
        await page.goto(`${base}/pipelines?live=0&sort=name`);
        await page.waitForSelector('table[aria-label="Pipelines"][aria-rowcount="1001"] a.name');
        const height = await page.$eval('tr[data-row="1"]', (tr) => tr.getBoundingClientRect().height);
        assert.ok(Math.abs(height - 68) <= 1, `rows are as high as the list takes them for: ${height}`);
        await page.goto(`${base}/loss?tab=incidents&live=0`);
        await page.waitForSelector('tr:has(a.name:text-is("clicks")) .told:has-text("lost, since")');
        assert.deepEqual(await axe(page), []);
        await page.goto(`${base}/self?live=0`);
        await page.waitForSelector('table[aria-label="Doors of the collectors"] .told:has-text("/s, 430 dropped")');
        await page.waitForSelector('table[aria-label="Spools"] .told:has-text("waiting")');
        assert.deepEqual(await axe(page), []);
      }),
      'mock',
    ],
    [
      'lists: Now says what its cards leave out, with the way to it',
      on(async (page) => {
        const times = (path, name, n) =>
          page.route(`**${path}*`, async (route) => {
            const response = await route.fetch();
            const json = await response.json();
            json[name] = Array.from({ length: n }, (_, i) => ({ ...json[name][0], id: `${json[name][0].id}${i}` }));
            await route.fulfill({ response, json });
          });
        await times('/api/v1/alerts-list', 'alerts', 7);
        await times('/api/v1/incidents', 'incidents', 6);
        await page.goto(`${base}/?live=0`);
        await page.waitForSelector('section[aria-label="Alerts"] a:text-is("2 more alerts")');
        assert.equal((await page.$$('section[aria-label="Alerts"] li')).length, 5);
        assert.deepEqual(await axe(page), []);
        await page.unrouteAll({ behavior: 'ignoreErrors' });
        await page.click('section[aria-label="Losses"] a:text-is("1 more incident")');
        await page.waitForURL((u) => u.pathname === '/loss' && u.searchParams.get('tab') === 'incidents');
      }),
      'mock',
    ],
    [
      'lists: the heading of a lag stands above its figures',
      on(async (page) => {
        await page.goto(`${base}/groups?live=0`);
        await page.waitForSelector('th.bounded button');
        const [head, figure] = await page.evaluate(() =>
          ['th.bounded button', 'tr[data-row="0"] td:nth-child(3) b'].map(
            (s) => document.querySelector(s).getBoundingClientRect().right,
          ),
        );
        assert.ok(Math.abs(head - figure) <= 2, `${head} and ${figure}`);
      }),
      'mock',
    ],
    [
      'lists: Escape closes what is open on a pipeline before it leaves the page',
      on(async (page) => {
        await page.goto(`${base}/p/orders?sel=enrich&wi=open&live=0`);
        await page.waitForSelector('.node-panel');
        await page.waitForSelector('.whatif .says');
        const left = (n) =>
          page.waitForFunction((want) => document.querySelectorAll('.node-panel, .whatif').length === want, n);
        await page.keyboard.press('Escape');
        await left(1);
        await page.keyboard.press('Escape');
        await left(0);
        assert.equal(new URL(page.url()).pathname, '/p/orders');
        await page.keyboard.press('Escape');
        await page.waitForURL((u) => u.pathname === '/pipelines');
      }),
      'mock',
    ],
  ];
}
