import { useRouterState } from '@tanstack/react-router';
import { useAlerts, useNow } from '../api/hooks';
import { list } from '../api/types';
import { Go } from '../components/link';
import { isUnder, PAGES } from './pages';

/** The left rail: only pages that exist, with what is wrong on them. */
export function Rail({
  open,
  live,
  close,
  help,
}: {
  open: boolean;
  live: boolean;
  close: () => void;
  help: () => void;
}) {
  const path = useRouterState({ select: (s) => s.location.pathname });
  const losing = list(useNow(live).data?.losses).filter((l) => l.still).length;
  const firing = list(useAlerts(live).data?.alerts).filter((a) => a.state === 'firing').length;
  const badge = (name: string) => {
    if (name === 'Loss' && losing > 0)
      return (
        <span className="n">
          {losing}
          <span className="sr"> losing now</span>
        </span>
      );
    if (name === 'Alerts' && firing > 0)
      return (
        <span className="n w">
          {firing}
          <span className="sr"> firing</span>
        </span>
      );
    return null;
  };
  return (
    <nav className={open ? 'rail open' : 'rail'} aria-label="Pages" id="rail" onClick={close}>
      {PAGES.map((p) => (
        <span key={p.path} style={{ display: 'contents' }}>
          {p.path === '/self' ? <hr /> : null}
          <RailLink path={p.path} on={isUnder(path, p.path)}>
            {p.name}
            {badge(p.name)}
          </RailLink>
        </span>
      ))}
      <button type="button" onClick={help}>
        Help
      </button>
    </nav>
  );
}

function RailLink({ path, on, children }: { path: string; on: boolean; children: React.ReactNode }) {
  return (
    <Go to={path} aria-current={on ? 'page' : undefined}>
      {children}
    </Go>
  );
}
