// The live line in a real browser: it moves, survives holes and a lost line, and rests when hidden.
import assert from 'node:assert/strict';
import { openPage } from './browser.mjs';

const CELL = 'tr:has(a.name:text-is("orders")) td:nth-child(3)';

export function tests({ base, browser, control }) {
  const chip = (page, text) => page.waitForSelector(`.top .chip:has-text("${text}")`, { timeout: 15_000 });
  const moved = async (page, within = 6000) => {
    const before = await page.innerText(CELL);
    const row = await page.innerText('tr:has(a.name:text-is("orders"))');
    await page.waitForFunction(
      ([sel, old]) => [...document.querySelectorAll('tr')].find((r) => r.textContent.includes(sel))?.innerText !== old,
      ['orders', row],
      { timeout: within },
    );
    return before;
  };
  return [
    [
      'live: values move without asking again',
      async () => {
        const { page, complaints } = await openPage(browser.context, base);
        await page.goto(`${base}/pipelines`);
        await page.waitForSelector(CELL);
        await chip(page, 'Live');
        await page.waitForTimeout(1500);
        const asked = control.requests;
        await moved(page);
        assert.equal(control.requests, asked, 'no request while the line carries the answer');
        assert.deepEqual(complaints, []);
        await page.close();
      },
      'mock',
    ],
    [
      'live: the groups in sight move without asking again, also after scrolling and searching',
      async () => {
        const { page, complaints } = await openPage(browser.context, base);
        const lag = 'table[aria-label="Consumer groups"] tr:has(a.name)';
        const still = async (what) => {
          await page.waitForSelector(lag);
          await page.waitForTimeout(1500);
          const asked = control.requests;
          const before = await page.$$eval(lag, (tds) => tds.map((td) => td.textContent).join());
          await page.waitForFunction(
            ([sel, old]) => [...document.querySelectorAll(sel)].map((td) => td.textContent).join() !== old,
            [lag, before],
            { timeout: 6000 },
          );
          assert.equal(control.requests, asked, `${what}: no request while the line carries the answer`);
        };
        await page.goto(`${base}/groups?f=clicks`);
        await chip(page, 'Live');
        await still('of a link');
        await page.fill('[data-filter]', '');
        await page.waitForSelector('table[aria-rowcount="15006"] tr[data-row="2"] a.name');
        await page.evaluate(() => {
          document.querySelector('.tall-list').scrollTop = 42 * 250;
        });
        await page.waitForSelector('tr[data-row="255"] a.name');
        await page.waitForTimeout(1500);
        const asked = control.requests;
        await page.waitForTimeout(6000);
        assert.equal(control.requests, asked, 'further down: nothing is polled');
        await page.fill('[data-filter]', 'click');
        await still('after a search');
        assert.deepEqual(complaints, []);
        await page.close();
      },
      'mock',
    ],
    [
      'live: a hole in the sequence is noticed and mended',
      async () => {
        const { page } = await openPage(browser.context, base);
        await page.goto(`${base}/pipelines`);
        await page.waitForSelector(CELL);
        await chip(page, 'Live');
        await page.waitForTimeout(1500);
        const asked = control.requests;
        control.skip = 8;
        await page.waitForFunction(() => true);
        await page.waitForTimeout(2500);
        assert.ok(control.requests > asked, 'after a hole the answer is fetched again');
        await moved(page);
        await chip(page, 'Live');
        await page.close();
      },
      'mock',
    ],
    [
      'live: a lost line comes back by itself',
      async () => {
        const { page, forgive } = await openPage(browser.context, base);
        forgive(/WebSocket/);
        await page.goto(`${base}/pipelines`);
        await chip(page, 'Live');
        control.dropLines();
        await page.waitForFunction(
          () => /Reconnecting|Polling/.test(document.querySelector('.top')?.textContent ?? ''),
          undefined,
          { timeout: 3000 },
        );
        await chip(page, 'Live');
        await moved(page);
        await page.close();
      },
      'mock',
    ],
    [
      'live: a hidden tab rests',
      async () => {
        const { page } = await openPage(browser.context, base);
        await page.goto(`${base}/pipelines`);
        await chip(page, 'Live');
        let closed = false;
        page.on('websocket', () => {
          closed = false;
        });
        const lines = () => control.lines();
        const open = lines();
        await page.evaluate(() => {
          Object.defineProperty(document, 'hidden', { configurable: true, get: () => true });
          document.dispatchEvent(new Event('visibilitychange'));
        });
        await page.waitForTimeout(400);
        closed = lines() < open;
        assert.ok(closed, 'the line is closed while hidden');
        await page.evaluate(() => {
          Object.defineProperty(document, 'hidden', { configurable: true, get: () => false });
          document.dispatchEvent(new Event('visibilitychange'));
        });
        await page.waitForTimeout(800);
        assert.equal(lines(), open, 'and open again afterwards');
        await page.close();
      },
      'mock',
    ],
  ];
}
