// Pictures of every page, light and dark, wide and narrow, to look at: `node e2e/shots.mjs [name…]`.
// HEIGHT=2000 shows what lies below the fold; LOOK=dark390 chooses one look.
import { startMock } from '../mock/server.mjs';
import { openPage, SHOTS, startBrowser } from './browser.mjs';
import { pagesOf } from './pages.mjs';

const only = process.argv.slice(2);
const mock = process.env.BASE ? undefined : await startMock();
const base = process.env.BASE ?? mock.url;
const browser = await startBrowser();
for (const [scheme, width, height] of [
  ['light', 1440, 900],
  ['dark', 1440, 900],
  ['light', 390, 844],
  ['dark', 390, 844],
]) {
  if (process.env.LOOK && process.env.LOOK !== `${scheme}${width}`) continue;
  const { page, complaints } = await openPage(browser.context, base, {
    width,
    height: Number(process.env.HEIGHT) || height,
    scheme,
  });
  for (const p of await pagesOf(base, !process.env.BASE)) {
    if (only.length && !only.includes(p.name)) continue;
    await page.goto(base + p.path);
    await page
      .waitForSelector(p.ready, { timeout: 10_000 })
      .catch(() => console.log(`${p.name}: ${p.ready} did not appear`));
    await page.waitForTimeout(500);
    await page.screenshot({ path: `${SHOTS}${p.name}-${scheme}-${width}.png` });
  }
  for (const c of complaints) console.log(scheme, width, c);
  await page.close();
}
await browser.close();
await mock?.close();
console.log(`pictures in ${SHOTS}`);
