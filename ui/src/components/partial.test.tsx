import { render, screen } from '@testing-library/react';
import { expect, it, vi } from 'vitest';
import { Partial } from './screen';

vi.mock('../state/use-view', () => ({ useView: () => [{ tz: 'Asia/Tokyo' }, () => undefined] }));

it('tells the times of what is missing in the zone of the page', () => {
  const day = new Date().toISOString().slice(0, 10);
  const missing = [`Nothing came from node-03 from ${day} 01:10:00 to 01:20:00 UTC.`];
  render(<Partial completeness={{ share: 0.9, missing }} />);
  expect(screen.getByRole('status').textContent).toMatch(/10:10:00 to 10:20:00\.$/);
});
