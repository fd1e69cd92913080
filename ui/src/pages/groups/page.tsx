// Which consumer group of which broker is behind? Searched, sorted and cut on the server.
import { useState } from 'react';
import type { GroupRow, Groups } from '../../api/types';
import { FilterField } from '../../components/filter-field';
import { target } from '../../components/group-target';
import { useKeys } from '../../components/keys';
import { RowKeys } from '../../components/row-keys';
import { useRows } from '../../components/rows';
import { NothingMatches, NothingYet, Screen } from '../../components/screen';
import { Segmented } from '../../components/segmented';
import { useSettled } from '../../components/settled';
import { SortHead } from '../../components/sort-head';
import { useTitle } from '../../components/title';
import { VirtualTable } from '../../components/virtual-table';
import { count, plural } from '../../lib/format';
import { useGo, useView } from '../../state/use-view';
import { stateChoices } from '../pipelines/rows';
import { type Found, pagesOf, type Question, useGroups } from './pages';
import { COLUMNS, EmptyRow, Row, type Sort } from './row';

const SNIPPET = `# weir-collector.yaml: the offsets are read, applications stay as they are
broker:
  nats:
    - url: nats://127.0.0.1:4222
      cluster: main`;

const SYSTEMS = ['', 'kafka', 'nats', 'rabbitmq', 'redis'];

export function GroupsPage() {
  const [view] = useView();
  const [sight, setSight] = useState([0, 0] as [number, number]);
  const question: Question = {
    q: useSettled(view.f.trim()),
    state: view.state,
    system: view.sys,
    sort: view.sort === 'messages' || view.sort === 'name' ? view.sort : 'lag',
  };
  const found = useGroups(question, pagesOf(...sight), view.live);
  useTitle('Groups');
  return (
    <Screen answer={{ ...found, data: found.head }} what="consumer groups" bones={[30, 520]}>
      {(head) => <Content head={head} found={found} sort={question.sort} onSight={(a, b) => setSight([a, b])} />}
    </Screen>
  );
}

function Content({
  head,
  found,
  sort,
  onSight,
}: {
  head: Groups;
  found: Found;
  sort: Sort;
  onSight: (first: number, last: number) => void;
}) {
  const [view, set] = useView();
  const go = useGo();
  const open = (g: GroupRow | undefined) => {
    if (!g) return;
    const { to, view: extra } = target(g);
    go(to, extra);
  };
  const clear = () => set({ f: '', state: '', sys: '' });
  const filtered = Boolean(view.f || view.state || view.sys);
  const [cursor] = useRows(head.total, (i) => open(found.at(i)));
  useKeys({ Escape: () => (filtered ? clear() : false) });
  const counts = head.counts ?? {};
  const all = Object.values(counts).reduce((n, c) => n + c, 0);
  if (all === 0 && !filtered)
    return (
      <>
        <h1>Groups</h1>
        <NothingYet title="No consumer group has been seen yet" snippet={SNIPPET}>
          Name a broker in the collector's configuration; its groups appear with the first poll:
        </NothingYet>
      </>
    );
  return (
    <>
      <div className="row base">
        <h1>Groups</h1>
        <span className="grow" />
        <Segmented
          label="State"
          choices={stateChoices(counts, all)}
          value={view.state}
          onChange={(state) => set({ state })}
        />
        <label className="field">
          <span className="sr">System</span>
          <select value={view.sys} onChange={(e) => set({ sys: e.target.value })}>
            {SYSTEMS.map((s) => (
              <option key={s} value={s}>
                {s || 'all systems'}
              </option>
            ))}
          </select>
        </label>
        <FilterField label="Filter groups" />
      </div>
      <div className="card">
        {head.total > 0 ? (
          <VirtualTable
            label="Consumer groups"
            count={head.total}
            height={42}
            cursor={cursor}
            onSight={onSight}
            head={<SortHead columns={COLUMNS} sort={sort} onSort={(s) => set({ sort: s === 'lag' ? '' : s })} />}
            row={(i) => {
              const g = found.at(i);
              return g ? (
                <Row key={g.id} row={g} index={i} on={i === cursor} open={open} />
              ) : (
                <EmptyRow key={i} index={i} on={i === cursor} />
              );
            }}
          />
        ) : (
          <NothingMatches
            what={[view.state.toLowerCase(), view.sys, view.f && `“${view.f}”`].filter(Boolean).join(' and ')}
            clear={clear}
          />
        )}
      </div>
      <div className="row">
        <RowKeys />
        <span className="grow" />
        <span className="mut">
          {plural(head.total, 'group')}
          {head.total < all ? ` of ${count(all)}` : ''}
        </span>
      </div>
    </>
  );
}
