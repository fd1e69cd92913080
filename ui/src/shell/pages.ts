// The pages that exist; the rail, the palette and the keys are all made from this list.

export interface Page {
  path: string;
  name: string;
  key?: string;
  says: string;
}

export const PAGES: readonly Page[] = [
  { path: '/', name: 'Now', key: 'n', says: 'is anything wrong, what first' },
  { path: '/pipelines', name: 'Pipelines', key: 'p', says: 'which one is late, is it getting worse' },
  { path: '/groups', name: 'Groups', key: 'g', says: 'which consumer group is behind' },
  { path: '/loss', name: 'Loss', key: 'l', says: 'what was lost, where, since when' },
  { path: '/alerts', name: 'Alerts', key: 'a', says: 'what fires' },
  { path: '/explore', name: 'Explore', key: 'e', says: 'a free question in PromQL' },
  { path: '/traces', name: 'Traces', key: 't', says: 'single records on their way' },
  { path: '/self', name: 'Self', key: 's', says: 'can I trust the charts' },
];

/** The range a page shows when the URL names none. */
export const defaultRange = (path: string): string => (path === '/loss' ? 'now-24h' : 'now-1h');

/** Does the page read the range? The others show now, or one thing whose times are its own. */
export const readsRange = (path: string): boolean =>
  path === '/loss' || path === '/explore' || path === '/traces' || path.startsWith('/p/');

export const isUnder = (path: string, page: string): boolean =>
  page === '/'
    ? path === '/'
    : path === page ||
      path.startsWith(`${page}/`) ||
      (page === '/pipelines' && path.startsWith('/p/')) ||
      (page === '/traces' && path.startsWith('/t/'));

/** Where Escape leads from a page that was opened by its link; empty for the pages of the rail. */
export function parentOf(path: string): string {
  const stage = /^(\/p\/[^/]+)\/stage\//.exec(path);
  if (stage) return stage[1] as string;
  if (path.startsWith('/p/')) return '/pipelines';
  if (path.startsWith('/t/')) return '/traces';
  return path.startsWith('/loss/') ? '/loss' : '';
}
