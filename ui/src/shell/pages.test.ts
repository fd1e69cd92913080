import { expect, it } from 'vitest';
import { readsRange } from './pages';

it('knows the pages that read the range', () => {
  for (const path of ['/loss', '/explore', '/traces', '/p/orders', '/p/orders/stage/enrich'])
    expect([path, readsRange(path)]).toEqual([path, true]);
  for (const path of ['/', '/pipelines', '/groups', '/alerts', '/self', '/loss/clicks~1', '/t/00ab'])
    expect([path, readsRange(path)]).toEqual([path, false]);
});
