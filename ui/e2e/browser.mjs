// The system's Chromium under playwright-core, with a profile of its own, and what every test watches:
// console errors, page errors, violations of the content security policy, requests to other hosts.
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

export const EXECUTABLE = process.env.CHROMIUM || '/usr/bin/chromium';
export const SHOTS = new URL('../screenshots/', import.meta.url).pathname;

const ARGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export const hasBrowser = () => existsSync(EXECUTABLE);

/** Starts the browser; close() ends it and removes its profile. */
export async function startBrowser() {
  mkdirSync(SHOTS, { recursive: true });
  const profile = mkdtempSync(join(tmpdir(), 'weir-ui-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: EXECUTABLE,
    args: ARGS,
    viewport: { width: 1440, height: 900 },
    timezoneId: 'Europe/Prague',
    locale: 'en-GB',
  });
  return {
    context,
    async close() {
      await context.close();
      rmSync(profile, { recursive: true, force: true });
    },
  };
}

/** A page whose complaints are collected in `complaints`. `forgive` names what a test provokes itself. */
export async function openPage(
  context,
  base,
  { width = 1440, height = 900, scheme = 'light', motion = 'reduce' } = {},
) {
  const page = await context.newPage();
  const complaints = [];
  const state = { forgive: [] };
  const complain = (text) => {
    if (!state.forgive.some((f) => f.test(text))) complaints.push(text);
  };
  await page.setViewportSize({ width, height });
  await page.emulateMedia({ colorScheme: scheme, reducedMotion: motion });
  page.on('console', (m) => {
    if (m.type() === 'error') complain(`console: ${m.text()} ${m.location().url}`);
  });
  page.on('pageerror', (e) => complain(`page: ${e.message}`));
  page.on('request', (r) => {
    const url = r.url();
    if (!url.startsWith(base) && !url.startsWith('data:') && !url.startsWith('blob:')) complain(`other host: ${url}`);
  });
  await page.exposeFunction('weirViolation', (text) => complain(`policy: ${text}`));
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (e) =>
      window.weirViolation(`${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber}`),
    );
  });
  return { page, complaints, forgive: (...patterns) => state.forgive.push(...patterns) };
}
