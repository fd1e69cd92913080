// Every page, light and dark, wide and narrow: it loads, shows content, has no serious finding of
// axe, no error in the console, no violation of the content security policy, asks no other host.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { openPage, SHOTS } from './browser.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const LOOKS = [
  { scheme: 'light', width: 1440, height: 900 },
  { scheme: 'dark', width: 1440, height: 900 },
  { scheme: 'light', width: 390, height: 844 },
  { scheme: 'dark', width: 390, height: 844 },
];

/** Serious and critical findings, one line each. */
export async function axe(page) {
  // Through the debugger, not through a script tag: the page's policy forbids inline scripts.
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  return violations
    .filter((v) => v.impact === 'serious' || v.impact === 'critical')
    .flatMap((v) =>
      v.nodes
        .slice(0, 4)
        .map(
          (n) =>
            `${v.id} (${v.impact}): ${n.html.slice(0, 160)} | ${n.failureSummary?.split('\n').slice(1, 2).join(' ').trim().slice(0, 200)}`,
        ),
    );
}

export function tests({ base, browser, pages, isMock }) {
  // The recorded pages are seen in all looks; a real server need not wait for that again.
  const looks = isMock ? LOOKS : [LOOKS[0], LOOKS[3]];
  return pages.map((p) => [
    `sight: ${p.name}`,
    async () => {
      const found = [];
      for (const look of looks) {
        const { page, complaints } = await openPage(browser.context, base, look);
        const where = `${look.scheme} ${look.width}`;
        try {
          await page.goto(base + p.path);
          await page.waitForSelector(p.ready, { timeout: 10_000 });
          await page.waitForTimeout(350);
          const text = await page.innerText('main');
          assert.ok(text.trim().length > 20, `${where}: the page is empty`);
          await page.screenshot({ path: `${SHOTS}${p.name}-${look.scheme}-${look.width}.png` });
          const wide = await page.evaluate(() => [
            document.documentElement.scrollWidth,
            innerWidth,
            document.querySelector('main').scrollWidth - document.querySelector('main').clientWidth,
            document.documentElement.scrollHeight - innerHeight,
          ]);
          if (wide[0] > wide[1]) found.push(`${where}: the page is ${wide[0]} px wide in a window of ${wide[1]}`);
          if (wide[3] > 0) found.push(`${where}: the document scrolls by ${wide[3]} px below its own frame`);
          if (wide[2] > 0) found.push(`${where}: main scrolls sideways by ${wide[2]} px`);
          for (const f of await axe(page)) found.push(`${where}: ${f}`);
          for (const c of complaints) found.push(`${where}: ${c}`);
        } finally {
          await page.close();
        }
      }
      assert.deepEqual(found, []);
    },
  ]);
}
