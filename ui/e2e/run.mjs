// `npm run e2e`: the browser tests. BASE=http://127.0.0.1:9480 runs those that fit any weir server
// against that one; without it the mock server is started with the built interface.
// Words behind the command choose tests by name. Exit code 3: there is no browser.
import { existsSync } from 'node:fs';
import { startMock } from '../mock/server.mjs';
import { EXECUTABLE, hasBrowser, SHOTS, startBrowser } from './browser.mjs';
import * as explore from './explore.mjs';
import * as flow from './flow.mjs';
import * as keys from './keys.mjs';
import * as lists from './lists.mjs';
import * as live from './live.mjs';
import { pagesOf } from './pages.mjs';
import * as pipeline from './pipeline.mjs';
import * as reals from './real.mjs';
import * as screens from './screens.mjs';
import * as sight from './sight.mjs';
import * as trace from './trace.mjs';

if (!hasBrowser()) {
  console.error(`\n  NO BROWSER: ${EXECUTABLE} does not exist, so NO browser test was run.`);
  console.error('  Install Chromium, or name it: CHROMIUM=/path/to/chromium npm run e2e\n');
  process.exit(3);
}
const real = process.env.BASE?.replace(/\/$/, '');
if (!real && !existsSync(new URL('../dist/app/index.html', import.meta.url))) {
  console.error('cannot test an interface that is not built: npm run build');
  process.exit(2);
}

const mock = real ? undefined : await startMock();
const base = real ?? mock.url;
const browser = await startBrowser();
const only = process.argv.slice(2);
const context = {
  base,
  browser,
  control: mock?.control,
  isMock: !real,
  pages: await pagesOf(base, !real),
  print: (text) => console.log(`      ${text}`),
};

let failed = 0;
let passed = 0;
let left = 0;
const begin = Date.now();
for (const { tests } of [sight, keys, live, screens, flow, lists, pipeline, explore, trace, reals]) {
  for (const [name, run, where] of tests(context)) {
    if (only.length && !only.some((o) => name.includes(o))) continue;
    if (where === 'real' && !real) continue;
    if (where === 'mock' && real) {
      left++;
      continue;
    }
    const start = Date.now();
    try {
      await run();
      passed++;
      console.log(`ok    ${name} (${Date.now() - start} ms)`);
    } catch (e) {
      failed++;
      console.log(
        `FAIL  ${name}\n      ${String(e?.message ?? e)
          .split('\n')
          .slice(0, 30)
          .join('\n      ')}`,
      );
    }
  }
}
await browser.close();
await mock?.close();
console.log(
  `${passed} passed, ${failed} failed${left ? `, ${left} left out because they need the mock server` : ''}, ${((Date.now() - begin) / 1000).toFixed(0)} s; pictures in ${SHOTS}`,
);
process.exit(failed > 0 ? 1 : 0);
