// The codec between the URL's query and the view of a page. Everything a reader can choose is in
// it, so that a copied link shows the same thing. Defaults are left out of the URL; what cannot be
// read is dropped, so that an old or mistyped link still opens.
import { isRelative, isWall, parseSpan, parseTime, resolve, validZone } from '../lib/time';

/** The whole view; a page uses the fields it knows. Empty string = not chosen. */
export interface View {
  /** Range; empty means the page's own default. */
  from: string;
  to: string;
  /** `local`, `UTC` or an IANA name. */
  tz: string;
  live: boolean;
  /** PromQL on Explore. */
  q: string;
  tab: string;
  /** State filter of a list. */
  state: string;
  /** Text filter of a list. */
  f: string;
  /** Chosen row: ledger row, map node, span. */
  sel: string;
  /** Chosen window of the ledger, Unix s. */
  w: string;
  sort: string;
  /** How far back the chart is compared with, `1d`. */
  cmp: string;
  /** A what-if: `consumers:6,rate:1.5`; `open` with nothing changed. */
  wi: string;
  /** Destination and group, `orders~enrich`. */
  grp: string;
  /** Messaging system of a list. */
  sys: string;
  /** Trace search. */
  service: string;
  name: string;
  attr: string;
  min: string;
  max: string;
  error: boolean;
}

export const DEFAULT: View = {
  from: '',
  to: '',
  tz: 'local',
  live: true,
  q: '',
  tab: '',
  state: '',
  f: '',
  sel: '',
  w: '',
  sort: '',
  cmp: '',
  wi: '',
  grp: '',
  sys: '',
  service: '',
  name: '',
  attr: '',
  min: '',
  max: '',
  error: false,
};

export type Search = Record<string, string>;

const MAX = 8000;
const TEXT = [
  'q',
  'tab',
  'state',
  'f',
  'sel',
  'w',
  'sort',
  'cmp',
  'wi',
  'grp',
  'sys',
  'service',
  'name',
  'attr',
  'min',
  'max',
] as const;

/** Reads a query; anything unreadable becomes the default. */
export function decode(search: Search): View {
  const v: View = { ...DEFAULT };
  const now = Date.now();
  if (search.tz && validZone(search.tz)) v.tz = search.tz;
  const { from = '', to = 'now' } = search;
  const [a, b] = [parseTime(from, now, v.tz), parseTime(to, now, v.tz)];
  if (a !== undefined && b !== undefined && a < b) {
    // A time without a zone is read in the page's zone once; another zone then shows the same moments.
    v.from = isWall(from) ? String(a) : from.trim();
    v.to = isWall(to) ? String(b) : to.trim();
  }
  if (search.live === '0') v.live = false;
  if (search.error === '1') v.error = true;
  for (const k of TEXT) {
    const t = search[k];
    if (t) v[k] = t.slice(0, MAX);
  }
  if (v.w && !/^\d+$/.test(v.w)) v.w = '';
  if (v.cmp && parseSpan(v.cmp) === undefined) v.cmp = '';
  return v;
}

/** Writes a view; decode(encode(v)) is v. */
export function encode(v: View): Search {
  const s: Search = {};
  if (v.from) {
    s.from = v.from;
    s.to = v.to || 'now';
  }
  if (v.tz !== 'local') s.tz = v.tz;
  if (!v.live) s.live = '0';
  if (v.error) s.error = '1';
  for (const k of TEXT) if (v[k]) s[k] = v[k];
  return s;
}

/** What survives a change of page: time, zone, live. */
export function carry(v: View): Search {
  return encode({ ...DEFAULT, from: v.from, to: v.to, tz: v.tz, live: v.live });
}

/** The same view with absolute times, for the link that `y` copies. */
export function absolute(v: View, fallback: string, now: number): View {
  const r = resolve(v.from || fallback, v.to || 'now', now);
  return { ...v, from: String(r.from), to: String(r.to), live: false };
}

/** Does the range end before now? Then nothing that follows it is live. */
export const isPast = (v: View): boolean => v.to !== '' && !isRelative(v.to);

/** What the Live chip and `l` do: pause, or come back to now, which a range of the past cannot show. */
export function toggleLive(v: View, readsRange: boolean): Partial<View> {
  if (v.live && !(readsRange && isPast(v))) return { live: false };
  return { live: true, ...(isPast(v) ? { from: '', to: '' } : {}) };
}

/** Query string of a search, readable: colons, commas and slashes stay as they are. */
export function stringify(search: Search): string {
  const p = new URLSearchParams(Object.entries(search).filter(([, t]) => t !== '' && t !== undefined)).toString();
  return p ? `?${p.replace(/%3A/g, ':').replace(/%2C/g, ',').replace(/%2F/g, '/')}` : '';
}

/** Search of a query string; the first value of a repeated name wins. */
export function parse(query: string): Search {
  const s: Search = {};
  for (const [k, t] of new URLSearchParams(query)) if (!(k in s)) s[k] = t;
  return s;
}
