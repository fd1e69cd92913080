// `node e2e/first-chart.mjs BASE [PATH]`: ms from the start of this command until the page shows a chart with
// data, in Chromium, cold. BASE may still be starting: until it answers the page is asked for again. Prints the ms.
// The start of a demo is measured by starting it at the same moment:
//   bin/weir-demo run --no-open … & node ui/e2e/first-chart.mjs http://127.0.0.1:9480
import { EXECUTABLE, hasBrowser, openPage, startBrowser } from './browser.mjs';

const begin = performance.now();
const [base, path = '/p/orders'] = process.argv.slice(2);
const MOST = 120_000;

if (!base || !hasBrowser()) {
  console.error(base ? `cannot measure: ${EXECUTABLE} does not exist` : 'usage: node e2e/first-chart.mjs BASE [PATH]');
  process.exit(base ? 3 : 2);
}
const browser = await startBrowser();
const { page } = await openPage(browser.context, base.replace(/\/$/, ''));
const left = () => MOST - (performance.now() - begin);

/** The pipeline is known only after its first counts: before that the page says that there is none. */
async function drawn() {
  try {
    const answer = await page.goto(base.replace(/\/$/, '') + path, { timeout: 5000 });
    if (!answer?.ok()) return false;
    await page.waitForFunction(
      () => {
        const plot = [...document.querySelectorAll('.plot[data-values]')].find((p) => Number(p.dataset.values) > 0);
        const canvas = plot?.querySelector('canvas');
        return canvas && canvas.width > 0;
      },
      undefined,
      { polling: 50, timeout: Math.min(1500, Math.max(1, left())) },
    );
    // Two frames later the canvas is on the screen.
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    return true;
  } catch {
    return false;
  }
}

let seen = await drawn();
while (!seen && left() > 0) {
  await new Promise((done) => setTimeout(done, 100));
  seen = await drawn();
}
const ms = Math.round(performance.now() - begin);
await browser.close();
if (!seen) {
  console.error(`no chart with data on ${base}${path} within ${MOST / 1000} s`);
  process.exit(1);
}
console.log(ms);
