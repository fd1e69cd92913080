import { cleanup, fireEvent, render, screen } from '@testing-library/react';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ApiError } from '../api/client';
import type { RibbonCell } from '../api/types';
import { buckets, Ribbon, RibbonScale } from './ribbon';
import { Screen } from './screen';
import { Sparkline } from './sparkline';
import { State, toneOf } from './state';
import { Tabs } from './tabs';

afterEach(cleanup);

describe('state', () => {
  it('never draws what it does not know as OK', () => {
    for (const s of [
      'UNKNOWN',
      'UNKNOWN(auditor silent)',
      '',
      undefined,
      'NO_COMMIT',
      'something new',
      'IDLE',
      'IN_FLIGHT',
      'IN_FLIGHT',
    ])
      expect(toneOf(s)).toBe('unk');
  });
  it('knows every state and verdict of the API', () => {
    const want = {
      OK: 'ok',
      DRAINING: 'ok',
      LATE: 'late',
      LOSING: 'lose',
      LOSS: 'lose',
      PROBABLE_LOSS: 'lose',
      RETENTION_LOSS: 'lose',
      SKIPPED: 'lose',
      MIXED: 'lose',
      DUPLICATES: 'late',
      ANOMALY: 'late',
      FILTERED: 'ok',
    };
    for (const [s, tone] of Object.entries(want)) expect([s, toneOf(s)]).toEqual([s, tone]);
  });
  it('says the word beside the shape', () => {
    const { container } = render(<State state="RETENTION_LOSS" />);
    expect(container.textContent).toBe('RETENTION LOSS');
    expect(container.querySelector('svg')?.getAttribute('aria-hidden')).toBe('true');
    expect(render(<State state="" />).container.textContent).toBe('NO DATA');
  });
});

describe('ribbon', () => {
  const cells: RibbonCell[] = Array.from({ length: 600 }, (_, i) => ({
    window: i * 60,
    state: i === 250 ? 'LOSS' : i === 251 ? 'UNKNOWN' : 'OK',
    lost: i === 250 ? 7 : 0,
  }));
  const end = 600 * 60_000;
  it('shows the worst of the windows in a part and loses no lost record', () => {
    const parts = buckets(cells, 0, end);
    expect(parts).toHaveLength(96);
    expect(parts.filter((p) => p.state === 'LOSS').map((p) => p.lost)).toEqual([7]);
    expect(parts.reduce((n, p) => n + p.lost, 0)).toBe(7);
  });
  it('stands in its place in time, and leaves the rest without a state', () => {
    const parts = buckets([{ window: 3540, state: 'OK', lost: 0 }], 0, 3600e3);
    expect(parts).toHaveLength(60);
    expect(parts.map((p) => p.state).filter(Boolean)).toEqual(['OK']);
    expect(parts[59]?.state).toBe('OK');
  });
  it('draws no gap where a cell stands for several windows', () => {
    const coarse = [0, 300, 600, 1200].map((window) => ({
      window,
      state: window === 300 ? 'LOSS' : 'OK',
      lost: window === 300 ? 7 : 0,
    }));
    const parts = buckets(coarse, 0, 1800e3);
    expect(parts).toHaveLength(30);
    expect(parts.slice(0, 15).every((p) => p.state)).toBe(true);
    expect(parts.slice(15, 20).some((p) => p.state)).toBe(false);
    expect(parts.filter((p) => p.state === 'LOSS')).toHaveLength(5);
    expect(parts.reduce((n, p) => n + p.lost, 0)).toBe(7);
  });
  it('has a scale with the zone, and ends now where it goes on', () => {
    const day = Date.UTC(2026, 0, 2);
    const { container, rerender } = render(<RibbonScale from={day} to={day + 2 * 3600e3} zone="UTC" />);
    expect(container.textContent).toBe('2 Jan 00:002 Jan 01:002 Jan 02:00 UTC');
    rerender(<RibbonScale from={day} to={day + 2 * 3600e3} zone="UTC" now={day + 7199e3} />);
    expect(container.textContent).toContain('now, 2 Jan 01:59 UTC');
  });
  it('hatches loss and says it in words', () => {
    const { container } = render(<Ribbon cells={cells} from={0} to={end} zone="UTC" />);
    expect(screen.getByRole('img').getAttribute('aria-label')).toContain('loss in 1 of 96 parts');
    expect(
      [...container.querySelectorAll('rect')].filter((r) => r.getAttribute('fill')?.startsWith('url(#')),
    ).toHaveLength(1);
  });
});

describe('sparkline', () => {
  it('leaves holes where the lag is not known', () => {
    const { container } = render(<Sparkline values={[1, 2, -1, -1, 3, 4]} state="OK" />);
    expect(container.querySelector('path')?.getAttribute('d')?.match(/M/g)).toHaveLength(2);
    expect(render(<Sparkline values={[-1, -1]} state="OK" />).container.textContent).toBe('–');
  });
  it('draws milliseconds of lag flat', () => {
    const { container } = render(<Sparkline values={[0, 0.05]} state="OK" />);
    const [, from, to] = /M\S+ (\S+)L\S+ (\S+)/.exec(container.querySelector('path')?.getAttribute('d') ?? '') ?? [];
    expect(Number(from) - Number(to)).toBeLessThan(2);
    expect(Number(from)).toBeGreaterThan(20);
  });
});

describe('screen', () => {
  const base = {
    data: undefined as string | undefined,
    error: null as Error | null,
    isPending: false,
    isPlaceholderData: false,
    refetch: vi.fn(),
  };
  const show = (answer: Partial<typeof base>) =>
    render(
      <Screen answer={{ ...base, ...answer }} what="pipelines" bones={[10, 20]}>
        {(d) => <p>{d}</p>}
      </Screen>,
    );
  it('shows bones while nothing is there', () => {
    show({});
    expect(screen.getByRole('status', { name: 'Loading pipelines' }).children).toHaveLength(2);
  });
  it('says the cause and tries again', () => {
    const refetch = vi.fn();
    show({ error: new ApiError(503, 'cannot read the store', '/api/v1/pipelines'), refetch });
    expect(screen.getByRole('alert').textContent).toContain('cannot read the store');
    expect(screen.getByRole('alert').textContent).toContain('/api/v1/pipelines');
    fireEvent.click(screen.getByRole('button', { name: 'Try again' }));
    expect(refetch).toHaveBeenCalledOnce();
  });
  it('keeps the old answer beside an error of the next one', () => {
    show({ data: 'old', error: new ApiError(0, 'cannot reach the weir server', '') });
    expect(screen.getByText('old')).toBeTruthy();
    expect(screen.getByRole('alert').textContent).toContain('newer pipelines');
  });
  it('dims old data while another range loads', () => {
    const { container } = show({ data: 'old', isPlaceholderData: true });
    expect(container.querySelector('.dimmed')?.getAttribute('aria-busy')).toBe('true');
  });
  it('does not blink while a question that failed is asked again, and forgets it for another one', () => {
    const view = (what: string, answer: Partial<typeof base>) => (
      <Screen answer={{ ...base, ...answer }} what={what} bones={[10]}>
        {(d) => <p>{d}</p>}
      </Screen>
    );
    const { rerender } = render(view('groups', { error: new Error('the store is starting') }));
    rerender(view('groups', {}));
    expect(screen.getByRole('alert').textContent).toContain('the store is starting');
    rerender(view('stages', {}));
    expect(screen.queryByRole('alert')).toBeNull();
    rerender(view('groups', { data: 'here' }));
    expect(screen.queryByRole('alert')).toBeNull();
  });
  it('tells a refusal from an error', () => {
    show({ error: new ApiError(403, 'forbidden', '/x') });
    expect(screen.queryByRole('alert')).toBeNull();
    expect(screen.getByRole('status').textContent).toContain('You may not see');
  });
});

describe('tabs', () => {
  it('move by arrows and wrap', () => {
    const change = vi.fn();
    render(
      <Tabs label="Views" tabs={['Map', 'Stages']} value="Map" onChange={change}>
        panel
      </Tabs>,
    );
    fireEvent.keyDown(screen.getByRole('tab', { name: 'Map' }), { key: 'ArrowLeft' });
    expect(change).toHaveBeenCalledWith('Stages');
    expect(screen.getByRole('tabpanel', { name: 'Map' }).textContent).toBe('panel');
  });
});
