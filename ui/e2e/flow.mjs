// The pages about pipelines, stages, groups and incidents: what they answer, by hand and by keyboard.
import assert from 'node:assert/strict';
import { cpus, loadavg } from 'node:os';
import { openPage, SHOTS } from './browser.mjs';
import { axe } from './sight.mjs';

const param = (page, name) => new URL(page.url()).searchParams.get(name);

export function tests({ base, browser, control, print }) {
  const on = (f) => async () => {
    const opened = await openPage(browser.context, base);
    try {
      await f(opened.page, opened.forgive);
      assert.deepEqual(opened.complaints, []);
    } finally {
      Object.assign(control, { many: 0, wide: 0, forbid: false, fail: '' });
      await opened.page.close();
    }
  };
  const judge = (what, ms, most) => {
    print(`${what}: ${Math.round(ms)} ms (bar: ${most.toLocaleString('en')} ms)`);
    const busy = loadavg()[0] / cpus().length;
    if (busy > 2) print(`the machine is busy (load ${busy.toFixed(1)} per core): the bar is not judged in this run`);
    else assert.ok(ms <= most, `${what}: ${ms} ms`);
  };
  /** ms from pressing what the selector finds to the painted `ready`. */
  const clickToPaint = (page, press, ready) =>
    page.evaluate(
      async ([a, b]) => {
        const begin = performance.now();
        document.querySelector(a).click();
        await new Promise((done) => {
          const look = () =>
            document.querySelector(b) ? requestAnimationFrame(() => setTimeout(done)) : requestAnimationFrame(look);
          look();
        });
        return performance.now() - begin;
      },
      [press, ready],
    );
  return [
    [
      'flow: 15,000 groups list within a second, and the rest loads as it is scrolled',
      on(async (page) => {
        await page.goto(`${base}/alerts?live=0`);
        await page.waitForSelector('tbody tr');
        const rows = 'table[aria-label="Consumer groups"]';
        judge(
          '15,000 groups',
          await clickToPaint(page, 'nav.rail a[href^="/groups"]', `${rows}[aria-rowcount="15006"] a.name`),
          1000,
        );
        await page.evaluate(() => {
          const box = document.querySelector('.tall-list');
          box.scrollTop = box.scrollHeight / 2;
        });
        await page.waitForFunction(
          (s) => Number(document.querySelector(`${s} tr:not([aria-busy]) a.name`)?.closest('tr').dataset.row) > 7000,
          rows,
          { timeout: 3000 },
        );
        assert.ok((await page.$$(`${rows} tbody tr`)).length < 80, 'only the rows in sight are drawn');
        await page.fill('[data-filter]', 'risk-reader-75');
        await page.waitForFunction((s) => Number(document.querySelector(s)?.getAttribute('aria-rowcount')) < 40, rows);
        assert.equal(param(page, 'f'), 'risk-reader-75');
        await page.click('th button:has-text("Unread")');
        await page.waitForURL((u) => u.searchParams.get('sort') === 'messages');
        assert.deepEqual(await axe(page), []);
      }),
      'mock',
    ],
    [
      'flow: a group leads to its partitions',
      on(async (page) => {
        await page.goto(`${base}/groups?f=enrich&live=0`);
        await page.waitForSelector('table[aria-label="Consumer groups"] a.name');
        await page.keyboard.press('j');
        await page.keyboard.press('Enter');
        await page.waitForURL((u) => u.pathname === '/p/orders' && u.searchParams.get('grp') === 'orders~enrich');
        await page.waitForSelector('.heat-plot');
        await page.keyboard.press('Escape');
        await page.waitForURL((u) => u.pathname === '/groups');
      }),
      'mock',
    ],
    [
      'flow: 1,000 pipelines list within a second',
      on(async (page) => {
        control.many = 1000;
        await page.goto(`${base}/alerts?live=0`);
        await page.waitForSelector('tbody tr');
        const ready = 'main table[aria-label="Pipelines"][aria-rowcount="1001"] a.name';
        judge('1,000 pipelines', await clickToPaint(page, 'nav.rail a[href^="/pipelines"]', ready), 1000);
        await page.click('th button:has-text("Deletes unread in")');
        await page.waitForSelector('tbody .warn:has-text("h")');
      }),
      'mock',
    ],
    [
      'flow: 10,000 partitions show within a second',
      on(async (page) => {
        control.wide = 10_000;
        await page.goto(`${base}/p/iot-west?live=0`);
        await page.waitForSelector('[role=tab]:has-text("Partitions")', { timeout: 15_000 });
        const ms = await clickToPaint(page, '#tab-Partitions', '.heat-plot[data-cells] canvas');
        judge('10,000 partitions', ms, 1000);
        await page.waitForSelector('table[aria-rowcount="10001"]');
        assert.ok((await page.$$('table[aria-rowcount="10001"] tbody tr')).length < 80, 'only rows in sight are drawn');
        await page.waitForSelector(':text("the 500 largest of 10,000")');
        await page.screenshot({ path: `${SHOTS}partitions-10000.png` });
        assert.deepEqual(await axe(page), []);
      }),
      'mock',
    ],
    [
      'flow: the heat strip by keyboard, and as a table',
      on(async (page) => {
        await page.goto(`${base}/p/orders?tab=partitions&live=0`);
        await page.waitForSelector('.heat-plot canvas');
        await page.focus('.heat-plot');
        await page.keyboard.press('ArrowDown');
        await page.waitForSelector('.heat-says:has-text("Partition 1 at")');
        for (const k of ['ArrowDown', 'ArrowDown', 'Home', 'End']) await page.keyboard.press(k);
        await page.waitForSelector('.heat-says:has-text("Partition 3 at")');
        assert.match(await page.innerText('.heat-says'), /: [\d,]+ unread records/);
        assert.equal(param(page, 'from'), null, 'arrows move the cursor and nothing else');
        await page.keyboard.press('Escape');
        await page.waitForFunction(() => !document.querySelector('.heat-cursor'));
        assert.equal(new URL(page.url()).pathname, '/p/orders', 'Escape leaves the cursor first');
        await page.click('section:has(.heat-body) button:text-is("Table")');
        await page.waitForSelector('th:has-text("Most in this range")');
      }),
      'mock',
    ],
    [
      'flow: what if, in the URL and back',
      on(async (page) => {
        await page.goto(`${base}/p/orders?live=0`);
        await page.click('button:text-is("What if")');
        await page.waitForURL((u) => u.searchParams.get('wi') === 'open');
        await page.waitForSelector('.whatif .says');
        await page.click('table[aria-label="Drain by number of consumers"] button:text-is("12")');
        await page.waitForURL((u) => u.searchParams.get('wi') === 'consumers:12');
        await page.waitForSelector('.whatif .says:has-text("instead of never")');
        await page.focus('.slider input >> nth=1');
        for (let i = 0; i < 4; i++) await page.keyboard.press('ArrowRight');
        await page.waitForURL((u) => u.searchParams.get('wi') === 'consumers:12,inflow:1.2');
        const says = await page.innerText('.whatif .says');
        await page.reload();
        await page.waitForSelector('.whatif .says');
        assert.equal(await page.innerText('.slider output >> nth=0'), '12');
        assert.equal((await page.innerText('.whatif .says')).slice(0, 12), says.slice(0, 12));
        await page.click('.whatif button:text-is("As it is") >> nth=0');
        await page.waitForURL((u) => u.searchParams.get('wi') === 'open');
      }),
      'mock',
    ],
    [
      'flow: c compares with another day',
      on(async (page) => {
        await page.goto(`${base}/p/orders?live=0`);
        await page.waitForSelector('.plot canvas');
        await page.keyboard.press('c');
        await page.waitForURL((u) => u.searchParams.get('cmp') === '1d');
        await page.waitForSelector('.legend:has-text("enrich, yesterday")');
        await page.keyboard.press('c');
        await page.waitForSelector('.legend:has-text("enrich, last week")');
        await page.keyboard.press('c');
        await page.waitForURL((u) => u.searchParams.get('cmp') === null);
      }),
      'mock',
    ],
    [
      'flow: a note is told, shown, taken back; without the right it says whom to ask',
      on(async (page, forgive) => {
        forgive(/403/);
        await page.goto(`${base}/p/orders?live=0`);
        await page.click('button:text-is("Note what happened")');
        await page.waitForSelector('dialog[open]');
        await page.fill('dialog input >> nth=0', 'retries turned off');
        await page.fill('dialog label:has-text("When") input', 'now-5m');
        assert.deepEqual(await axe(page), []);
        control.forbid = true;
        await page.click('dialog button[type=submit]');
        await page.waitForSelector('dialog [role=alert]:has-text("Ask whoever runs")');
        control.forbid = false;
        await page.click('dialog button[type=submit]');
        await page.waitForSelector('dialog[open]', { state: 'detached' });
        const line = 'section[aria-label="What happened in this range"] li:has-text("retries turned off")';
        await page.waitForSelector(line);
        await page.click(`${line} button`);
        await page.waitForSelector(line, { state: 'detached' });
      }),
      'mock',
    ],
    [
      'flow: a declaration is checked, stored, and guarded against another writer',
      on(async (page, forgive) => {
        forgive(/409/);
        await page.goto(`${base}/p/billing?tab=config&live=0`);
        await page.waitForSelector('section[aria-label="Declared"] .yaml');
        await page.waitForSelector(':text("Nothing is declared")');
        await page.click('button:text-is("Use the proposal")');
        await page.waitForSelector(':text("nothing to complain about")');
        await page.click('button:text-is("Store")');
        await page.waitForSelector('section[aria-label="Declared"] :text("version 1 by you")');
        await page.click('section[aria-label="Declared"] .cm-content');
        await page.keyboard.press('Control+End');
        await page.keyboard.type('sugar: 2');
        await page.waitForSelector('.findings li:has-text("cannot use the key")');
        assert.ok(await page.isDisabled('button:text-is("Store")'), 'what is wrong cannot be stored');
        await page.waitForSelector('section[aria-label="Declared"] .cm-lint-marker-error');
        assert.deepEqual(await axe(page), []);
        await page.screenshot({ path: `${SHOTS}config-findings.png` });
        for (let i = 0; i < 8; i++) await page.keyboard.press('Backspace');
        await page.keyboard.type('# ours');
        await page.waitForSelector(':text("nothing to complain about")');
        control.meddle('billing');
        await page.click('button:text-is("Store")');
        await page.waitForSelector('[role=alert]:has-text("newer version")');
        await page.click('button:text-is("Keep mine, upon theirs")');
        await page.click('button:text-is("Store")');
        await page.waitForSelector('section[aria-label="Declared"] :text("version 3 by you")');
        await page.goto(`${base}/p/clicks?tab=config&live=0`);
        await page.waitForSelector('code:has-text("/etc/weir/pipelines/clicks.yaml")');
        assert.equal(await page.$('button:text-is("Store")'), null);
        await page.goto(`${base}/p/payments?tab=config&live=0`);
        await page.waitForSelector(':text("Ask whoever runs this weir server")');
      }),
      'mock',
    ],
    [
      'flow: from the pipeline to a stage and back, by keyboard',
      on(async (page, forgive) => {
        forgive(/404/);
        await page.goto(`${base}/p/orders?tab=stages&tz=UTC`);
        await page.waitForSelector('table[aria-label^="Stages"] tbody tr');
        await page.keyboard.press('j');
        await page.keyboard.press('j');
        await page.keyboard.press('Enter');
        await page.waitForURL((u) => u.pathname === '/p/orders/stage/enrich' && u.searchParams.get('tz') === 'UTC');
        await page.waitForSelector('section[aria-label="Cause"] .cause-chip:has-text("throttled")');
        await page.click('summary:has-text("What this rests on")');
        await page.waitForSelector('section[aria-label="Cause"] li');
        await page.keyboard.press('Escape');
        await page.waitForURL((u) => u.pathname === '/p/orders');
        await page.goto(`${base}/p/orders/stage/nobody`);
        await page.waitForSelector(':text("Nearest")');
      }),
      'mock',
    ],
    [
      'flow: from the ledger to the incident; its link opens it again, Escape leads back',
      on(async (page) => {
        await page.goto(`${base}/loss`);
        await page.waitForSelector('.loss-detail a:text-is("Open the incident")');
        await page.click('.loss-detail a:text-is("Open the incident")');
        await page.waitForSelector('.headline .big:has-text("records lost")');
        const href = page.url();
        assert.match(await page.innerText('.equation'), /in\s*=[\s\S]*LOST/);
        await page.waitForSelector('section[aria-label="Event time"] h3:has-text("Newest")');
        await page.waitForSelector('.ribbon-scale:has-text("now, ")');
        const parts = await page.$$eval('section[aria-label="Event time"] .ribbon rect title', (ts) =>
          ts.map((x) => x.textContent),
        );
        assert.ok(
          parts.length > 0 && !parts.some((p) => p.includes('no data')),
          `neither a gap nor the future is drawn: ${parts.filter((p) => p.includes('no data')).slice(0, 5)}, of ${parts.length}`,
        );
        await page.keyboard.press('Escape');
        await page.waitForURL((u) => u.pathname === '/loss');
        const fresh = await page.context().newPage();
        await fresh.goto(href);
        await fresh.waitForSelector('.headline .big:has-text("records lost")');
        await fresh.click('main a:text-is("Explore")');
        await fresh.waitForURL((u) => u.pathname === '/explore' && u.searchParams.get('q')?.includes('clicks'));
        await fresh.close();
        await page.click('#tab-Incidents');
        await page.waitForSelector('table[aria-label="Incidents"] tbody tr');
        await page.keyboard.press('j');
        await page.keyboard.press('Enter');
        await page.waitForSelector('.headline .big:has-text("fate is not known")');
      }),
      'mock',
    ],
    [
      'flow: the ledger is searched on the server, by keyboard, and the link shows the same',
      on(async (page) => {
        await page.goto(`${base}/loss`);
        const rows = 'table[aria-label="Loss ledger"] tbody tr';
        await page.waitForSelector(rows);
        const all = (await page.$$(rows)).length;
        await page.keyboard.press('/');
        await page.keyboard.type('clicks fingerprints');
        await page.waitForFunction(([s, n]) => document.querySelectorAll(s).length < n, [rows, all]);
        assert.equal(param(page, 'f'), 'clicks fingerprints');
        assert.match(await page.innerText(rows), /clicks/);
        await page.waitForSelector('main :text("watched")');
        const href = page.url();
        await page.keyboard.press('Enter');
        const fresh = await page.context().newPage();
        await fresh.goto(href);
        await fresh.waitForSelector(rows);
        assert.match(await fresh.innerText(rows), /clicks/);
        assert.ok((await fresh.$$(rows)).length < all);
        await fresh.close();
        await page.click('#tab-Incidents');
        await page.waitForSelector('main :text("Nothing matches")');
        await page.keyboard.press('/');
        await page.keyboard.press('Control+a');
        await page.keyboard.type('429');
        await page.waitForSelector('table[aria-label="Incidents"] tbody tr');
        await page.click('#tab-Ledger');
        await page.keyboard.press('Escape');
        await page.waitForFunction(([s, n]) => document.querySelectorAll(s).length === n, [rows, all]);
        assert.deepEqual(await axe(page), []);
      }),
      'mock',
    ],
    [
      'flow: stage and incident move with the live line, without asking again',
      on(async (page) => {
        for (const [path, ready] of [
          ['/p/orders/stage/enrich', 'table[aria-label="Inputs"] tbody tr'],
          [await incidentOf(base, 'clicks'), 'table[aria-label="Balances by event minute"] tbody tr'],
        ]) {
          await page.goto(base + path);
          await page.waitForSelector(ready);
          await page.waitForSelector('.top .chip:has-text("Live")');
          await page.waitForTimeout(1500);
          const before = await page.innerText(ready);
          const asked = control.requests;
          await page.waitForFunction(([s, old]) => document.querySelector(s)?.innerText !== old, [ready, before], {
            timeout: 8000,
          });
          // The heat strip is polled; the answer itself comes by the line.
          assert.ok(control.requests - asked <= 1, `${control.requests - asked} requests on ${path}`);
        }
      }),
      'mock',
    ],
    [
      'flow: a panel that fails does not take the page along',
      on(async (page, forgive) => {
        forgive(/503/);
        control.fail = '/api/v1/incidents';
        await page.goto(`${base}/?live=0`);
        await page.waitForSelector('section[aria-label="Losses"] li:has-text("clicks")');
        await page.waitForSelector('section[aria-label="Worst pipelines"] tbody tr');
        control.fail = '/api/v1/pipelines/orders/heat';
        await page.goto(`${base}/p/orders?tab=partitions&live=0`);
        await page.waitForSelector('table[aria-label="orders → enrich"] tbody tr');
        await page.waitForSelector('[role=alert]:has-text("over time")', { timeout: 12_000 });
      }),
      'mock',
    ],
  ];
}

async function incidentOf(base, pipeline) {
  const { incidents } = await (await fetch(`${base}/api/v1/incidents`)).json();
  return `/loss/${encodeURIComponent(incidents.find((i) => i.pipeline === pipeline).id)}`;
}
