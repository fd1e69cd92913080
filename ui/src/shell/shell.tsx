// The frame around every page: rail, top bar, palette, help, keys.
import { Outlet, useRouter, useRouterState } from '@tanstack/react-router';
import { Suspense, useEffect, useRef, useState } from 'react';
import { useLiveLine } from '../api/hooks';
import { copyText } from '../components/copy-button';
import { useKeys } from '../components/keys';
import { Go } from '../components/link';
import { Skeleton } from '../components/screen';
import { resolve } from '../lib/time';
import { toggleTheme } from '../state/theme';
import { useGo, useView } from '../state/use-view';
import { absolute, encode, isPast, stringify, toggleLive } from '../state/view';
import { Help } from './help';
import { defaultRange, PAGES, parentOf, readsRange } from './pages';
import { Palette } from './palette';
import { Rail } from './rail';
import './shell.css';
import { TopBar } from './top-bar';

export function Shell() {
  const [view, set] = useView();
  const path = useRouterState({ select: (s) => s.location.pathname });
  const router = useRouter();
  const go = useGo();
  const [overlay, setOverlay] = useState<'help' | 'palette' | ''>('');
  const [rail, setRail] = useState(false);
  const [toast, setToast] = useState('');
  const main = useRef<HTMLElement>(null);
  const fallback = defaultRange(path);
  const reads = readsRange(path);
  useLiveLine(view.live);

  useEffect(() => {
    if (!toast) return;
    const t = setTimeout(() => setToast(''), 1800);
    return () => clearTimeout(t);
  }, [toast]);
  // Another page: its beginning, and the rail of a narrow window out of the way.
  // biome-ignore lint/correctness/useExhaustiveDependencies: the path is what triggers
  useEffect(() => {
    main.current?.scrollTo(0, 0);
    setRail(false);
  }, [path]);

  const copyLink = () => {
    // A page that reads no range cannot be frozen; its link says nothing of one.
    const shown = reads ? absolute(view, fallback, Date.now()) : { ...view, from: '', to: '' };
    const link = `${location.origin}${path}${stringify(encode(shown))}`;
    void copyText(link).then((ok) => setToast(ok ? 'Link copied' : link));
  };
  const shift = (share: number, zoom = 1) => {
    if (!reads) return false;
    const r = resolve(view.from || fallback, view.to || 'now', Date.now());
    const width = r.to - r.from;
    const middle = (r.from + r.to) / 2 + share * width;
    const half = (width * zoom) / 2;
    const end = Math.min(middle + half, Date.now());
    set({ from: String(Math.round(end - 2 * half)), to: String(Math.round(end)), live: false });
    return true;
  };
  const utc = () => set({ tz: view.tz === 'UTC' ? 'local' : 'UTC' });
  const liveToggle = () => set(toggleLive(view, reads));
  const past = reads && isPast(view);

  useKeys(
    {
      ...Object.fromEntries(PAGES.filter((p) => p.key).map((p) => [`g ${p.key}`, () => go(p.path)])),
      'Shift+?': () => setOverlay('help'),
      '/': () => focusFilter(() => setOverlay('palette')),
      l: liveToggle,
      u: utc,
      d: toggleTheme,
      y: copyLink,
      '[': () => shift(-0.5),
      ']': () => shift(0.5),
      'Shift++': () => shift(0, 0.5),
      '=': () => shift(0, 0.5),
      '-': () => shift(0, 2),
      Escape: () => {
        if (rail) setRail(false);
        else if (parentOf(path)) {
          if (router.history.canGoBack()) router.history.back();
          else go(parentOf(path));
        }
      },
    },
    { frame: true },
  );
  useKeys({ '$mod+k': () => setOverlay('palette') }, { always: true });

  return (
    <div className="app">
      <button type="button" className="skip" onClick={() => main.current?.focus()}>
        Skip to the page
      </button>
      <Go to="/" className="brand" aria-label="weir, to the page Now">
        <svg width="22" height="18" viewBox="0 0 22 18" aria-hidden>
          <path
            d="M1 5c3.300 0 3.300 2 6.600 2S11 5 14.300 5 17.600 7 21 7"
            fill="none"
            stroke="var(--acc)"
            strokeWidth="2.200"
          />
          <path d="M3 12h16M6 16h10" stroke="var(--mut)" strokeWidth="2.200" strokeLinecap="round" />
        </svg>
        weir
      </Go>
      <TopBar
        view={view}
        set={set}
        fallback={fallback}
        reads={reads}
        past={past}
        utc={utc}
        liveToggle={liveToggle}
        palette={() => setOverlay('palette')}
      />
      <button
        type="button"
        className="chip menu-toggle"
        aria-expanded={rail}
        aria-controls="rail"
        onClick={() => setRail(!rail)}
      >
        Menu
      </button>
      <Rail open={rail} live={view.live} close={() => setRail(false)} help={() => setOverlay('help')} />
      <main className="main" id="main" ref={main} tabIndex={0}>
        <Suspense fallback={<Skeleton heights={[28, 300]} />}>
          <Outlet />
        </Suspense>
      </main>
      {overlay === 'help' ? <Help close={() => setOverlay('')} /> : null}
      {overlay === 'palette' ? (
        <Palette
          close={() => setOverlay('')}
          actions={[
            { text: reads ? 'Copy a link to exactly this' : 'Copy a link to this page', hint: 'y', run: copyLink },
            { text: 'Dark or light', hint: 'd', run: toggleTheme },
            { text: 'UTC or local time', hint: 'u', run: utc },
            {
              text: past ? 'Back to now' : view.live ? 'Pause live updates' : 'Resume live updates',
              hint: 'l',
              run: liveToggle,
            },
            { text: 'Keys', hint: '?', run: () => setOverlay('help') },
          ]}
        />
      ) : null}
      <div role="status" className={toast ? 'toast' : 'sr'}>
        {toast}
      </div>
    </div>
  );
}

/** `/` goes to the page's own filter; a page without one gets the palette. */
function focusFilter(otherwise: () => void): void {
  const field = document.querySelector<HTMLInputElement>('[data-filter]');
  if (field) {
    field.focus();
    field.select();
  } else otherwise();
}
