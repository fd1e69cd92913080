import type { Edge, FlowNode, LossRow } from '../../api/types';
import { useKeys } from '../../components/keys';
import { Go } from '../../components/link';
import { OpenIncident } from '../../components/open-incident';
import { State } from '../../components/state';
import { count, duration, percent, rate, readAgo } from '../../lib/format';

/** What is known about the chosen node, in figures. `at` is when the page was made, Unix milliseconds. */
export function NodePanel({
  at,
  node,
  edges,
  nodes,
  pipeline,
  service,
  losses,
  close,
}: {
  at: number;
  node: FlowNode;
  edges: readonly Edge[];
  nodes: readonly FlowNode[];
  pipeline: string;
  /** Its first service, by which its traces are found. */
  service: string;
  /** Of the pipeline. */
  losses: readonly LossRow[];
  close: () => void;
}) {
  useKeys({ Escape: close });
  const isQueue = node.kind === 'queue';
  const name = (id: string) => nodes.find((n) => n.id === id)?.name ?? id;
  const readers = edges.filter((e) => e.from === node.id && e.lag);
  const losing = edges.filter((e) => e.lost > 0 && (e.from === node.id || e.to === node.id));
  const incidents =
    node.lost > 0 || losing.length > 0 ? losses.filter((l) => l.where.split(' → ').includes(node.name)) : [];
  const facts: [string, string][] = [
    ['Age of the data', duration(node.age)],
    ['In', node.in == null ? '?' : `${rate(node.in)}/s`],
    ['Out', node.out == null ? '?' : `${rate(node.out)}/s`],
    ...(isQueue
      ? []
      : ([
          ['Busy', percent(node.busy)],
          ['CPU', node.cpu == null ? '–' : `${node.cpu.toFixed(1)} cores`],
          ['Throttled', percent(node.throttled)],
          ['Instances', count(node.instances)],
        ] as [string, string][])),
    ...(isQueue && node.system ? [['System', node.system] as [string, string]] : []),
    ['Lost, 24 h', count(node.lost)],
    ...losing.map(
      (e) =>
        [
          e.from === node.id ? `Lost on the way to ${name(e.to)}, 24 h` : `Lost on the way from ${name(e.from)}, 24 h`,
          count(e.lost),
        ] as [string, string],
    ),
    ...readers.map(
      (e) =>
        [
          `Lag of ${e.group || name(e.to)}`,
          [
            duration(e.lag?.seconds),
            e.lag?.messages != null ? `${rate(e.lag.messages)} records` : '',
            readAgo(at, e.lag?.at),
          ]
            .filter(Boolean)
            .join(', '),
        ] as [string, string],
    ),
  ];
  return (
    <div className="node-panel" role="region" aria-label={`${node.name} in figures`}>
      <div className="row">
        <h2>{node.name}</h2>
        <span className="mut">{node.kind}</span>
        <State state={node.state} />
        <span className="grow" />
        <OpenIncident rows={incidents} className="btn" />
        {isQueue ? (
          readers[0] ? (
            <Go
              to={`/p/${encodeURIComponent(pipeline)}`}
              view={{ tab: 'partitions', grp: `${node.name}~${readers[0].group}` }}
              className="btn"
            >
              Partitions
            </Go>
          ) : null
        ) : (
          <>
            <Go to={`/p/${encodeURIComponent(pipeline)}/stage/${encodeURIComponent(node.name)}`} className="btn">
              Open the stage
            </Go>
            <Go
              to={`/p/${encodeURIComponent(pipeline)}`}
              view={{ tab: 'traces', service, sel: node.id }}
              className="btn"
            >
              Traces
            </Go>
          </>
        )}
        <button type="button" className="btn" onClick={close}>
          Close
        </button>
      </div>
      <dl className="facts" style={{ padding: '12px 0 0' }}>
        {facts.map(([k, v]) => (
          <div key={k}>
            <dt>{k}</dt>
            <dd>{v}</dd>
          </div>
        ))}
      </dl>
    </div>
  );
}
