import {
  createMemoryHistory,
  createRootRoute,
  createRoute,
  createRouter,
  RouterProvider,
} from '@tanstack/react-router';
import { cleanup, fireEvent, render, screen, waitFor } from '@testing-library/react';
import { afterEach, beforeAll, expect, it } from 'vitest';
import type { Pipeline } from '../../api/types';
import { parse, type Search, stringify } from '../../state/view';
import { draftOf, dropDraft, keepDraft } from './config/drafts';
import { AskBeforeLeaving } from './config/leave';
import { OutlookLine } from './outlook-line';

beforeAll(() => {
  // The test's document has no modal dialogs.
  HTMLDialogElement.prototype.showModal = function show() {
    this.open = true;
  };
  HTMLDialogElement.prototype.close = function close() {
    this.open = false;
  };
});
afterEach(() => {
  cleanup();
  dropDraft('orders');
});

const span = (value: number | null) => ({ value, low: null, high: null });
const data = {
  state: 'LATE',
  forecasts: [
    { destination: 'orders', group: 'enrich', drain: span(null), loss_in: span(15_180), retention: 7200 },
    { destination: 'orders', group: 'audit', drain: span(750), loss_in: null, retention: 7200 },
  ],
} as unknown as Pipeline;

function show(path: string) {
  const root = createRootRoute();
  const page = createRoute({
    getParentRoute: () => root,
    path: '/p/$id',
    component: () => (
      <>
        <AskBeforeLeaving id="orders" />
        <OutlookLine data={data} />
      </>
    ),
  });
  const other = createRoute({ getParentRoute: () => root, path: '/other', component: () => <p>elsewhere</p> });
  const router = createRouter({
    routeTree: root.addChildren([page, other]),
    history: createMemoryHistory({ initialEntries: [path] }),
    parseSearch: (q) => parse(q),
    stringifySearch: (s) => stringify(s as Search),
  });
  render(<RouterProvider router={router as never} />);
  return router;
}

it('tells until when of the reader that decides, and opens its what-if on the map', async () => {
  const router = show('/p/orders?tab=stages');
  const line = await screen.findByRole('region', { name: 'Until when' });
  const says = line.textContent?.replace(/\s+/g, ' ');
  expect(says).toContain('Drains: never at these rates (orders → enrich)');
  expect(says).toContain('retention deletes unread data in 4 h 13 m (orders → enrich)');
  fireEvent.click(screen.getByRole('button', { name: 'What if' }));
  await waitFor(() => expect(router.state.location.search).toEqual({ wi: 'open', grp: 'orders~enrich' }));
});

it('asks before a page with a draft is left, and keeps the draft unless it is told not to', async () => {
  keepDraft('orders', { text: 'id: orders', base: 1 });
  const router = show('/p/orders');
  await screen.findByRole('region', { name: 'Until when' });
  const leave = () => void router.navigate({ to: '/other' as never });
  leave();
  fireEvent.click(await screen.findByRole('button', { name: 'Stay' }));
  await waitFor(() => expect(screen.queryByRole('button', { name: 'Stay' })).toBeNull());
  expect(router.state.location.pathname).toBe('/p/orders');
  leave();
  fireEvent.click(await screen.findByRole('button', { name: 'Leave, keep the draft' }));
  await screen.findByText('elsewhere');
  expect(draftOf('orders')?.base).toBe(1);
});

it('does not ask between the tabs of the page, nor without a draft', async () => {
  keepDraft('orders', { text: 'id: orders', base: 1 });
  const router = show('/p/orders');
  fireEvent.click(await screen.findByRole('button', { name: 'What if' }));
  await waitFor(() => expect(router.state.location.search).toMatchObject({ wi: 'open' }));
  expect(screen.queryByRole('button', { name: 'Stay' })).toBeNull();
  dropDraft('orders');
  void router.navigate({ to: '/other' as never });
  await screen.findByText('elsewhere');
});
