// `npm run size`: what the first route costs, gzip, against its budget (bars.md U2). The first route
// is the entry with everything it imports statically; the whole UI has a budget of its own.
import { readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const DIST = new URL('../dist/app/', import.meta.url);
const KB = 1024;
const manifest = JSON.parse(readFileSync(new URL('.vite/manifest.json', DIST), 'utf8'));
const gzip = (file) => gzipSync(readFileSync(new URL(file, DIST)), { level: 9 }).length;

const seen = new Set();
const css = new Set();
function walk(key) {
  if (seen.has(key)) return;
  seen.add(key);
  for (const c of manifest[key].css ?? []) css.add(c);
  for (const i of manifest[key].imports ?? []) walk(i);
}
walk(Object.keys(manifest).find((k) => manifest[k].isEntry));

const sum = (files) => [...files].reduce((n, f) => n + gzip(f), 0);
const all = readdirSync(new URL('assets/', DIST))
  .filter((f) => /\.(js|css)$/.test(f))
  .map((f) => `assets/${f}`);
const rows = [
  ['first route, JS', sum([...seen].map((k) => manifest[k].file)), 270 * KB],
  ['first route, CSS', sum(css), 45 * KB],
  ['whole UI, JS and CSS', sum(all), 1200 * KB],
];
let over = false;
for (const [what, bytes, most] of rows) {
  over ||= bytes > most;
  console.log(
    `${what.padEnd(22)} ${(bytes / KB).toFixed(1).padStart(7)} KB gzip of ${most / KB} KB ${bytes > most ? 'TOO MUCH' : 'ok'}`,
  );
}
if (over) process.exit(1);
