import { list, type TraceRow } from '../api/types';
import { count, spanDuration } from '../lib/format';
import { clockSeconds, when } from '../lib/time';
import { Go } from './link';
import { Scroll } from './scroll';
import { Shape } from './state';

interface Props {
  rows: readonly TraceRow[];
  zone: string;
  cursor: number;
  open: (row: TraceRow) => void;
}

/** Traces, one per line; the bar compares their durations. */
export function TraceTable({ rows, zone, cursor, open }: Props) {
  const longest = Math.max(1e-9, ...rows.map((r) => r.duration));
  const now = Date.now();
  return (
    <Scroll label="Traces">
      <table aria-label="Traces">
        <thead>
          <tr>
            <th scope="col" className="l">
              Started
            </th>
            <th scope="col" className="l">
              Root
            </th>
            <th scope="col">Takes</th>
            <th scope="col" className="l">
              <span className="sr">Takes, drawn</span>
            </th>
            <th scope="col">Spans</th>
            <th scope="col" className="l">
              Errors
            </th>
            <th scope="col" className="l">
              Services
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map((t, i) => {
            const services = list(t.services);
            return (
              <tr
                key={t.id}
                className={i === cursor ? 'go sel' : 'go'}
                data-row={i}
                aria-selected={i === cursor}
                onClick={(e) => (e.target as HTMLElement).closest('a') || open(t)}
              >
                <td className="l num">
                  {now - t.start < 86_400_000 ? clockSeconds(t.start, zone) : when(t.start, zone, now)}
                </td>
                <td className="l">
                  <Go to={`/t/${t.id}`} className="name">
                    {t.name || '(no root)'}
                  </Go>{' '}
                  <span className="mut">{t.service}</span>
                </td>
                <td>
                  <b>{spanDuration(t.duration)}</b>
                </td>
                <td className="l">
                  <svg width="110" height="8" aria-hidden>
                    <rect
                      width={Math.max(1.5, (110 * t.duration) / longest)}
                      height="8"
                      rx="2"
                      fill="var(--s1)"
                      opacity="0.75"
                    />
                  </svg>
                </td>
                <td>{count(t.spans)}</td>
                <td className="l">
                  {t.errors > 0 ? (
                    <span className="bad">
                      <Shape tone="lose" /> {count(t.errors)}
                    </span>
                  ) : (
                    '0'
                  )}
                </td>
                <td className="l mut">
                  {services.slice(0, 4).join(', ')}
                  {services.length > 4 ? ` and ${services.length - 4} more` : ''}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </Scroll>
  );
}
