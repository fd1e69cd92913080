// The view of the page at hand: read from the router's URL, written back to it.
import { useNavigate, useRouterState } from '@tanstack/react-router';
import { useCallback, useMemo, useRef } from 'react';
import { isRelative, resolve } from '../lib/time';
import { carry, DEFAULT, decode, encode, type Search, type View } from './view';

export type SetView = (patch: Partial<View>, how?: 'replace' | 'push') => void;

/** The view and its setter; filter edits replace the history entry, choices may push one. */
export function useView(): [View, SetView] {
  const search = useRouterState({ select: (s) => s.location.search as Search });
  const navigate = useNavigate();
  const view = useMemo(() => decode(search), [search]);
  const latest = useRef(view);
  latest.current = view;
  const set = useCallback<SetView>(
    (patch, how = 'replace') => {
      latest.current = { ...latest.current, ...patch };
      void navigate({
        to: '.',
        search: encode(latest.current) as never,
        replace: how === 'replace',
        resetScroll: false,
      });
    },
    [navigate],
  );
  return [view, set];
}

/** Goes to another page and takes time, zone and live along. */
export function useGo(): (path: string, extra?: Partial<View>) => void {
  const [view] = useView();
  const navigate = useNavigate();
  return useCallback(
    (path, extra) =>
      void navigate({ to: path as never, search: { ...carry(view), ...encode({ ...DEFAULT, ...extra }) } as never }),
    [navigate, view],
  );
}

/** The range of the page: its texts, a key for caches, and a function for "as of this moment". */
export function useRange(view: View, fallback: string) {
  const from = view.from || fallback;
  const to = view.to || 'now';
  return useMemo(
    () => ({
      from,
      to,
      key: `${from}..${to}`,
      relative: isRelative(to),
      now: () => resolve(from, to, Date.now()),
    }),
    [from, to],
  );
}
