// Can I trust the charts? weir's own ledger: received = stored + spooled + dropped, door by door.
import { useSelf } from '../../api/hooks';
import { type CollectorRow, type DoorRow, list, type Self, type StoreRow } from '../../api/types';
import { useClock } from '../../components/clock';
import { Screen } from '../../components/screen';
import { Scroll } from '../../components/scroll';
import { Shape, State } from '../../components/state';
import { useTitle } from '../../components/title';
import { bytes, count, DASH, duration, plural, rate, value } from '../../lib/format';
import { full } from '../../lib/time';
import { useView } from '../../state/use-view';

export function SelfPage() {
  const [view] = useView();
  const answer = useSelf(view.live);
  useTitle('Self');
  return (
    <Screen answer={answer} what="weir's own ledger" bones={[30, 320, 160]}>
      {(data) => <Content data={data} />}
    </Screen>
  );
}

const PARTS: { part: DoorRow['part']; title: string; says: string; stored: string }[] = [
  { part: 'collector', title: 'Doors of the collectors', says: 'received = passed on + dropped', stored: 'Passed on' },
  { part: 'spool', title: 'Spools', says: 'written = delivered + waiting + dropped', stored: 'Delivered' },
  { part: 'ingest', title: 'Doors of the server', says: 'received = stored + dropped', stored: 'Stored' },
];

function Content({ data }: { data: Self }) {
  const doors = list(data.doors);
  const off = doors.filter((d) => !d.balanced).length;
  const collectors = list(data.collectors);
  const away = new Set(collectors.filter((c) => c.state === 'UNKNOWN').map((c) => c.node));
  return (
    <>
      <div className="row base">
        <h1>Self</h1>
        {doors.length === 0 ? (
          <State state="UNKNOWN" word="NOTHING RECEIVED YET" />
        ) : data.balanced && away.size > 0 ? (
          <State state="UNKNOWN" word={away.size === 1 ? 'COLLECTOR AWAY' : 'COLLECTORS AWAY'} />
        ) : data.balanced ? (
          <State state="OK" word="BALANCED" />
        ) : (
          <State state="LOSING" word="NOT BALANCED" />
        )}
        <span className="mut">
          {away.size > 0
            ? `${count(away.size)} of ${plural(collectors.length, 'collector')} silent: ${[...away].slice(0, 3).join(', ')}${away.size > 3 ? ' …' : ''}; `
            : ''}
          received = stored + spooled + dropped{off > 0 ? `; ${off} of ${doors.length} doors are off` : ''}
        </span>
        <span className="grow" />
        <span className="mut">weir {data.version}</span>
      </div>
      {PARTS.map((p) => {
        const rows = doors.filter((d) => d.part === p.part);
        return rows.length > 0 ? (
          <Doors
            key={p.part}
            title={p.title}
            says={p.says}
            stored={p.stored}
            rows={rows}
            away={away}
            spool={p.part === 'spool'}
          />
        ) : null;
      })}
      <div className="cols">
        <Collectors rows={collectors} skew={data.at} />
        <Store rows={list(data.store)} />
      </div>
    </>
  );
}

function Doors({
  title,
  says,
  stored,
  rows,
  away,
  spool,
}: {
  title: string;
  says: string;
  stored: string;
  rows: readonly DoorRow[];
  /** Nodes that are silent: their figures are the last that were heard. */
  away: ReadonlySet<string>;
  spool: boolean;
}) {
  return (
    <section className="card" aria-label={title}>
      <div className="row card-head">
        <h2>{title}</h2>
        <span className="mut">{says}</span>
      </div>
      <Scroll label={title}>
        <table className="dense" aria-label={title}>
          <thead>
            <tr>
              <th scope="col" className="l">
                Balance
              </th>
              <th scope="col" className="l">
                Node
              </th>
              <th scope="col" className="l">
                {spool ? 'Signal' : 'Door'}
              </th>
              <th scope="col">Per second</th>
              <th scope="col">{spool ? 'Written' : 'Received'}</th>
              <th scope="col">{stored}</th>
              {spool ? <th scope="col">Waiting</th> : null}
              <th scope="col">Dropped</th>
              <th scope="col" className="l">
                Reasons
              </th>
            </tr>
          </thead>
          <tbody>
            {rows.map((d) => {
              const dropped = list(d.dropped).filter((x) => x.count > 0);
              const sum = dropped.reduce((n, x) => n + x.count, 0);
              const silent = d.part !== 'ingest' && away.has(d.node);
              return (
                <tr key={`${d.node} ${d.door}`}>
                  <td className="l">
                    {silent && d.balanced ? (
                      <span className="mark mut">
                        <Shape tone="unk" /> as last heard
                      </span>
                    ) : d.balanced ? (
                      <span className="mark">
                        <Shape tone="ok" /> balanced
                      </span>
                    ) : (
                      <span className="mark bad">
                        <Shape tone="lose" /> off by {count(d.diff)}
                      </span>
                    )}
                  </td>
                  <td className="l">{d.node}</td>
                  <td className="l">
                    <b>{d.door}</b> <span className="mut">{d.unit === d.door ? '' : d.unit}</span>
                    <div className="narrow told mut">
                      {silent ? '?' : rate(d.rate)}/s{d.spooled > 0 ? `, ${count(d.spooled)} waiting` : ''}
                      {sum > 0 ? (
                        <>
                          , <span className="bad">{count(sum)} dropped</span>
                        </>
                      ) : null}
                    </div>
                  </td>
                  <td>{silent ? '?' : rate(d.rate)}</td>
                  <td>{count(d.received)}</td>
                  <td>{count(d.stored)}</td>
                  {spool ? <td className={d.spooled > 0 ? 'warn' : undefined}>{count(d.spooled)}</td> : null}
                  <td className={sum > 0 ? 'bad' : undefined}>{count(sum)}</td>
                  <td className="l wrap mut">{dropped.map((x) => `${x.reason} ${count(x.count)}`).join(', ')}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </Scroll>
    </section>
  );
}

function Collectors({ rows, skew }: { rows: readonly CollectorRow[]; skew: number }) {
  const [view] = useView();
  useClock(5000);
  return (
    <section className="card" aria-label="Collectors">
      <div className="row card-head">
        <h2>Collectors</h2>
      </div>
      {rows.length === 0 ? <p className="pad mut">No collector has sent anything yet.</p> : null}
      <Scroll label="Collectors">
        <table className="dense" aria-label="Collectors">
          <thead>
            <tr>
              <th scope="col" className="l">
                State
              </th>
              <th scope="col" className="l">
                Node
              </th>
              <th scope="col">Last seen</th>
              <th scope="col">Gaps</th>
              <th scope="col" className="l">
                Runs since
              </th>
              <th scope="col" className="l">
                Version
              </th>
            </tr>
          </thead>
          <tbody>
            {rows.map((c) => (
              <tr key={c.node}>
                <td className="l">
                  <State state={c.state} />
                </td>
                <td className="l">
                  <b>{c.node}</b>
                </td>
                <td>{duration(Math.max(0, skew - c.last_seen) / 1000)} ago</td>
                <td className={c.gaps > 0 ? 'bad' : undefined}>{count(c.gaps)}</td>
                <td className="l mut">{c.epoch > 0 ? full(c.epoch, view.tz) : DASH}</td>
                <td className="l mut">{c.version || DASH}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </section>
  );
}

function amount(row: StoreRow): string {
  if (row.unit === 'bytes' || row.unit === 'B') return bytes(row.value);
  if (row.unit === 'seconds' || row.unit === 's') return duration(row.value);
  return `${row.value > 1e7 ? rate(row.value) : value(row.value)} ${row.unit === row.name ? '' : row.unit}`.trim();
}

function Store({ rows }: { rows: readonly StoreRow[] }) {
  if (rows.length === 0) return null;
  return (
    <section className="card" aria-label="Store">
      <div className="row card-head">
        <h2>Store</h2>
      </div>
      <dl className="facts">
        {rows.map((r) => (
          <div key={r.name}>
            <dt>{r.name}</dt>
            <dd>{amount(r)}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}
