// Every flow by keyboard, and the view in the URL.
import assert from 'node:assert/strict';
import { openPage } from './browser.mjs';

const at = (page) => new URL(page.url());
const path = async (page, want) =>
  page
    .waitForURL((u) => u.pathname === want, { timeout: 5000 })
    .catch(() => assert.fail(`at ${at(page).pathname}, want ${want}`));

export function tests({ base, browser, isMock }) {
  const on = (f) => async () => {
    const { page, complaints } = await openPage(browser.context, base);
    try {
      await f(page);
      assert.deepEqual(complaints, []);
    } finally {
      await page.close();
    }
  };
  return [
    [
      'keys: g and a letter goes to each page',
      on(async (page) => {
        await page.goto(`${base}/`);
        await page.waitForSelector('main h1');
        for (const [key, want] of [
          ['p', '/pipelines'],
          ['g', '/groups'],
          ['l', '/loss'],
          ['a', '/alerts'],
          ['e', '/explore'],
          ['t', '/traces'],
          ['s', '/self'],
          ['n', '/'],
        ]) {
          await page.keyboard.press('g');
          await page.keyboard.press(key);
          await path(page, want);
          assert.equal(at(page).searchParams.get('live'), null, `g ${key} must not also switch live`);
        }
      }),
    ],
    [
      'keys: j, k, Enter, Esc in the list of pipelines',
      on(async (page) => {
        await page.goto(`${base}/pipelines?tz=UTC`);
        await page.waitForSelector('tbody tr');
        const names = await page.$$eval('tbody tr a.name', (as) => as.map((a) => a.textContent));
        for (const k of names.length > 1 ? ['j', 'j', 'k', 'j'] : ['j']) await page.keyboard.press(k);
        await page.keyboard.press('Enter');
        const want = names[Math.min(1, names.length - 1)];
        await path(page, `/p/${encodeURIComponent(want)}`);
        assert.equal(at(page).searchParams.get('tz'), 'UTC', 'the zone goes along');
        await page.waitForSelector(`main h1:text-is("${want}")`);
        await page.keyboard.press('Escape');
        await path(page, '/pipelines');
      }),
    ],
    [
      'keys: / filters, the filter is in the URL, typing is only typing',
      on(async (page) => {
        await page.goto(`${base}/pipelines`);
        await page.waitForSelector('tbody tr');
        await page.keyboard.press('/');
        await page.keyboard.type('g p ud');
        assert.equal(at(page).pathname, '/pipelines');
        await page.waitForFunction(() => new URLSearchParams(location.search).get('f') === 'g p ud');
        assert.equal(at(page).searchParams.get('tz'), null);
        await page.waitForSelector('text=Nothing matches');
        await page.keyboard.press('Escape');
        await page.keyboard.press('Escape');
        await page.waitForFunction(() => !new URLSearchParams(location.search).has('f'));
        await page.waitForSelector('tbody tr');
      }),
    ],
    [
      'keys: ? help, d dark, u UTC, l live, y link',
      on(async (page) => {
        await page.goto(`${base}/pipelines`);
        await page.waitForSelector('main h1');
        await page.keyboard.press('Shift+?');
        await page.waitForSelector('dialog[open] .keys');
        await page.keyboard.press('d');
        assert.equal(await page.getAttribute('html', 'data-theme'), 'light', 'keys rest while a dialog is open');
        await page.keyboard.press('Escape');
        await page.waitForSelector('dialog[open]', { state: 'detached' });
        await page.keyboard.press('d');
        assert.equal(await page.getAttribute('html', 'data-theme'), 'dark');
        await page.keyboard.press('d');
        await page.keyboard.press('u');
        await page.waitForURL((u) => u.searchParams.get('tz') === 'UTC');
        await page.waitForSelector('.top .chip:has-text("UTC")');
        await page.keyboard.press('l');
        await page.waitForURL((u) => u.searchParams.get('live') === '0');
        await page.waitForSelector('.top .chip:has-text("Paused")');
        await page.keyboard.press('l');
        await page.waitForURL((u) => u.searchParams.get('live') === null);
        await page.keyboard.press('y');
        await page.waitForFunction(() => /copied|http/.test(document.querySelector('.toast')?.textContent ?? ''));
      }),
    ],
    [
      'keys: bare keys can be switched off',
      on(async (page) => {
        await page.goto(`${base}/pipelines`);
        await page.waitForSelector('main h1');
        await page.keyboard.press('Shift+?');
        await page.click('dialog[open] input[type=checkbox]');
        await page.keyboard.press('Escape');
        await page.keyboard.press('u');
        await page.waitForTimeout(150);
        assert.equal(at(page).searchParams.get('tz'), null);
        await page.keyboard.press('Control+k');
        await page.waitForSelector('dialog[open] [role=combobox]');
        await page.evaluate(() => localStorage.removeItem('weir.keys-off'));
      }),
    ],
    [
      'keys: Ctrl+K finds and opens',
      on(async (page) => {
        await page.goto(`${base}/alerts`);
        await page.waitForSelector('main h1');
        await page.keyboard.press('Control+k');
        await page.waitForSelector('dialog[open] [role=combobox]');
        await page.keyboard.type(isMock ? 'bill' : 'Pipelines');
        await page.waitForSelector('dialog[open] [role=option]');
        await page.keyboard.press('Enter');
        await path(page, isMock ? '/p/billing' : '/pipelines');
        if (isMock)
          for (const [text, option, want] of [
            ['enrich orders', 'stage of orders', '/p/orders/stage/enrich'],
            ['enrich orders', 'group on orders', '/p/orders'],
            ['risk-reader-75', 'group on', '/explore'],
          ]) {
            await page.keyboard.press('Control+k');
            await page.keyboard.type(text);
            const found = `dialog[open] [role=option]:has-text("${option}")`;
            await page.waitForSelector(found);
            for (let i = 0; (await page.getAttribute(found, 'aria-selected')) !== 'true'; i++) {
              assert.ok(i < 14, `${option} is not reached by arrows`);
              await page.keyboard.press('ArrowDown');
            }
            await page.keyboard.press('Enter');
            await path(page, want);
          }
        await page.keyboard.press('Control+k');
        await page.keyboard.type('4bf92f3577b34da6a3ce929d0e0e4736');
        await page.waitForSelector('text=Open trace');
        await page.keyboard.press('Escape');
        await page.waitForSelector('dialog[open]', { state: 'detached' });
      }),
    ],
    [
      'keys: Tab reaches the page by the skip link, tabs move by arrows',
      on(async (page) => {
        await page.goto(`${base}${isMock ? '/p/orders' : '/pipelines'}`);
        await page.waitForSelector('main h1');
        await page.keyboard.press('Tab');
        await page.keyboard.press('Enter');
        assert.equal(await page.evaluate(() => document.activeElement?.id), 'main');
        if (!isMock) return;
        await page.waitForSelector('[role=tab]:has-text("Stages")');
        await page.focus('[role=tab][aria-selected=true]');
        await page.keyboard.press('ArrowRight');
        await page.waitForURL((u) => u.searchParams.get('tab') === 'stages');
        await page.focus('.map .node');
        await page.keyboard.press('Enter');
        await page.waitForSelector('.node-panel');
      }),
    ],
    [
      'url: the range menu writes it, and a link shows the same',
      on(async (page) => {
        await page.goto(`${base}/loss`);
        await page.waitForSelector('main h1');
        await page.click('.top [aria-haspopup=dialog]');
        await page.keyboard.press('Tab');
        await page.click('.menu button:text-is("6h")');
        await page.waitForURL((u) => u.searchParams.get('from') === 'now-6h' && u.searchParams.get('to') === 'now');
        await page.waitForSelector('.top .chip:has-text("Last 6 hours")');
        await page.keyboard.press('[');
        await page.waitForURL(
          (u) => /^\d{13}$/.test(u.searchParams.get('from') ?? '') && u.searchParams.get('live') === '0',
        );
        const href = page.url();
        await page.reload();
        await page.waitForSelector('main h1');
        assert.equal(page.url(), href);
        await page.goBack();
        await page.waitForURL((u) => u.pathname === '/loss' && !u.searchParams.has('from'));
      }),
    ],
    [
      'url: a typed time is of the zone of the page, and the menu tells what it read',
      on(async (page) => {
        await page.goto(`${base}/loss`);
        await page.waitForSelector('main h1');
        await page.click('.top [aria-haspopup=dialog]');
        await page.fill('.menu label:has-text("From") input', '2026-01-31 14:00');
        await page.fill('.menu label:has-text("To") input', '2026-01-31T15:00');
        await page.waitForSelector('.menu [role=status]:has-text("31 Jan 2026, 14:00:00 to 15:00:00 CET")');
        await page.click('.menu button:text-is("Show")');
        const from = String(Date.UTC(2026, 0, 31, 13));
        await page.waitForURL((u) => u.searchParams.get('from') === from && u.searchParams.get('live') === '0');
        await page.keyboard.press('u');
        await page.waitForSelector('.top .chip:has-text("31 Jan 13:00 – 14:00 UTC")');
        assert.equal(at(page).searchParams.get('from'), from, 'another zone shows the same moments');
      }),
    ],
    [
      'url: a range of the past is not called live, and both ways back lead to now',
      on(async (page) => {
        const end = Date.now() - 3600e3;
        const past = `?from=${end - 3600e3}&to=${end}`;
        const back = () => page.waitForURL((u) => !u.searchParams.has('from') && !u.searchParams.has('live'));
        for (const [query, button] of [
          [past, '.top .chip:has-text("Past range")'],
          [`${past}&live=0`, 'main button:text-is("Back to now")'],
        ]) {
          await page.goto(`${base}/p/orders${query}`);
          await page.waitForSelector('.top .chip:has-text("Past range")');
          await page.waitForSelector('main [role=note]:has-text("Map, stages, partitions and forecast are of now")');
          await page.click(button);
          await back();
          await page.waitForSelector('.top .chip:has-text("Live")');
          assert.equal(await page.$('main [role=note]:has-text("are of now")'), null);
        }
      }),
      'mock',
    ],
    [
      'url: a page that reads no range shows no range, and keys of time rest there',
      on(async (page) => {
        await page.goto(`${base}/pipelines?from=now-6h`);
        await page.waitForSelector('.top .chip:has-text("Times in CET"), .top .chip:has-text("Times in CEST")');
        assert.equal(await page.$('.top [aria-haspopup=dialog]'), null);
        await page.keyboard.press('[');
        await page.keyboard.press('-');
        await page.waitForTimeout(150);
        assert.equal(at(page).searchParams.get('from'), 'now-6h', 'it is kept for the next page');
        await page.click('.top .chip:has-text("Times in")');
        await page.waitForURL((u) => u.searchParams.get('tz') === 'UTC');
      }),
    ],
  ];
}
