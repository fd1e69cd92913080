// One pipeline: what its first screen tells, where it leads, and what typing must not lose.
import assert from 'node:assert/strict';
import { openPage } from './browser.mjs';
import { axe } from './sight.mjs';

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
    [
      'pipeline: a pipeline that loses leads to its incident, from the cause and from the hatched edge, by keyboard',
      on(async (page) => {
        const link = 'section[aria-label="Cause"] a:text-is("Open the incident")';
        await page.goto(`${base}/p/clicks?live=0`);
        await page.waitForSelector(link);
        await page.focus('.map .edge[aria-label*="lost in 24 h"]');
        assert.match(
          await page.getAttribute('.map .edge:focus', 'aria-label'),
          /^sink-es → clicks-2026: .+\/s .+ lost, 24 h, [\d,]{7,} lost in 24 h/,
        );
        await page.keyboard.press('Enter');
        await page.waitForSelector('.node-panel dt:has-text("Lost on the way to clicks-2026, 24 h")');
        await page.waitForSelector('.node-panel a:text-is("Open the incident")');
        await page.focus(link);
        await page.keyboard.press('Enter');
        await page.waitForURL((u) => u.pathname.startsWith('/loss/transport~clicks'));
        await page.waitForSelector('.headline .big:has-text("records lost")');
      }),
      'mock',
    ],
    [
      'pipeline: an edge with a lag tells it and the age of its reading; traces of a node are searched by its service',
      on(async (page) => {
        await page.goto(`${base}/p/orders?live=0`);
        await page.focus('.map .edge[aria-label*="/s lag "]');
        await page.keyboard.press(' ');
        await page.waitForSelector('.node-panel[aria-label="orders in figures"] dt:has-text("Lag of enrich")');
        await page.goto(`${base}/p/orders?sel=enrich&live=0`);
        await page.click('.node-panel a:text-is("Traces")');
        await page.waitForURL(
          (u) => u.searchParams.get('tab') === 'traces' && u.searchParams.get('service') === 'enrich',
        );
        await page.waitForSelector('table[aria-label="Traces"] tbody tr');
      }),
      'mock',
    ],
    [
      'pipeline: every tab stays, and an empty one says what it would show',
      on(async (page) => {
        await page.goto(`${base}/p/audit-log?tab=loss&live=0`);
        await page.waitForSelector('#tab-panel :text("Nothing of this pipeline was balanced")');
        assert.equal(await page.getAttribute('#tab-Loss', 'aria-selected'), 'true');
        assert.equal((await page.$$('[role=tab]')).length, 7);
        await page.click('#tab-Alerts');
        await page.waitForSelector('#tab-panel :text("No alert of this pipeline")');
        assert.deepEqual(await axe(page), []);
      }),
      'mock',
    ],
    [
      'pipeline: branches of unknown shares are dashed and called a part, and no line crosses a label',
      on(async (page) => {
        await page.goto(`${base}/p/vehicle-positions?live=0`);
        await page.waitForSelector('.map text:has-text("part of")');
        const found = await page.evaluate(() => {
          const crossed = [];
          const lines = [...document.querySelectorAll('.map g > path[fill=none]:first-of-type')].filter(
            (p) => !p.closest('.node'),
          );
          const labels = [...document.querySelectorAll('.map text.halo')].filter((t) => t.textContent);
          for (const label of labels) {
            const b = label.getBBox();
            for (const line of lines)
              for (let at = 0; at <= line.getTotalLength(); at += 2) {
                const p = line.getPointAtLength(at);
                if (p.x > b.x && p.x < b.x + b.width && p.y > b.y + 1 && p.y < b.y + b.height - 1) {
                  crossed.push(label.textContent);
                  break;
                }
              }
          }
          const parts = labels.filter((t) => t.textContent.startsWith('part of'));
          return {
            crossed,
            parts: parts.length,
            dashed: parts.filter((t) => t.parentElement.querySelector('path[stroke-dasharray]')).length,
          };
        });
        assert.deepEqual(found, { crossed: [], parts: 3, dashed: 3 });
        const bold = await page.$$eval('.map .node:has(text.strong) .name', (all) => all.map((x) => x.textContent));
        assert.ok(bold.length > 0 && !bold.includes('geofence'), 'only the age at the sinks is bold');
      }),
      'mock',
    ],
    [
      'pipeline: on a narrow window the chosen node is in sight, else the worst, and a cut edge fades',
      on(
        async (page) => {
          const inSight = (name) =>
            page.waitForFunction((n) => {
              const node = [...document.querySelectorAll('.map .node')].find(
                (x) => x.querySelector('.name').textContent === n,
              );
              const box = document.querySelector('.map-scroll')?.getBoundingClientRect();
              const r = node?.getBoundingClientRect();
              return r && box && r.left >= box.left && r.right <= box.right;
            }, name);
          await page.goto(`${base}/p/vehicle-positions?sel=geofence&live=0`);
          await inSight('geofence');
          await page.waitForSelector('.map-scroll.cut-left.cut-right');
          await page.goto(`${base}/p/ledger-sync?live=0`);
          await inSight('settle');
        },
        { width: 390, height: 844 },
      ),
      'mock',
    ],
    [
      'pipeline: a draft outlives a look at another tab, is kept by pipeline, and leaving asks',
      on(async (page) => {
        const declared = 'section[aria-label="Declared"]';
        const text = () => page.innerText(`${declared} .cm-content`);
        await page.goto(`${base}/pipelines?live=0`);
        await page.click('table[aria-label="Pipelines"] a.name:text-is("orders")');
        await page.click('#tab-Config');
        await page.click(`${declared} .cm-content`);
        await page.keyboard.press('Control+End');
        await page.keyboard.type('# half a thought');
        await page.waitForSelector(`${declared} :text("not stored yet")`);
        await page.click('#tab-Map');
        await page.waitForSelector('.plot canvas');
        await page.click('#tab-Config');
        await page.waitForSelector(`${declared} .yaml`);
        assert.match(await text(), /half a thought/);
        const asks = 'dialog[open][aria-label="The declaration is not stored"]';
        await page.click('nav[aria-label="Breadcrumb"] a:text-is("Pipelines")');
        await page.waitForSelector(asks);
        assert.deepEqual(await axe(page), []);
        await page.keyboard.press('Escape');
        await page.waitForSelector(asks, { state: 'detached' });
        assert.equal(new URL(page.url()).pathname, '/p/orders');
        await page.click('nav[aria-label="Breadcrumb"] a:text-is("Pipelines")');
        await page.click(`${asks} button:text-is("Leave, keep the draft")`);
        await page.waitForURL((u) => u.pathname === '/pipelines');
        await page.click('table[aria-label="Pipelines"] a.name:text-is("search-index")');
        await page.click('#tab-Config');
        await page.waitForSelector(`${declared} .yaml`);
        assert.doesNotMatch(await text(), /half a thought/, 'the draft of another pipeline');
        await page.goBack();
        await page.waitForURL((u) => u.pathname === '/pipelines');
        await page.goBack();
        await page.waitForSelector('main h1:text-is("orders")');
        await page.waitForSelector(`${declared} .yaml`);
        assert.match(await text(), /half a thought/);
        await page.click('button:text-is("Use the proposal")');
        await page.waitForSelector('button:text-is("Press again to replace what you typed")');
        assert.match(await text(), /half a thought/, 'typed text is replaced only when asked twice');
        await page.click('button:text-is("Delete declaration")');
        await page.waitForSelector('button:text-is("Press again to delete it")');
        await page.click('button:text-is("Undo all")');
        await page.waitForSelector(`${declared} :text("not stored yet")`, { state: 'detached' });
        await page.click('nav[aria-label="Breadcrumb"] a:text-is("Pipelines")');
        await page.waitForURL((u) => u.pathname === '/pipelines');
      }),
      'mock',
    ],
  ];
}
