import type { IncidentDetail } from '../../api/types';
import { Revised } from '../../components/balances';
import { split } from '../../components/cause';
import { useClock } from '../../components/clock';
import { CopyButton } from '../../components/copy-button';
import { type Fact, Facts } from '../../components/facts';
import { incidentPath } from '../../components/incident-list';
import { Go } from '../../components/link';
import { State, toneOf } from '../../components/state';
import { count, DASH, duration, percent, plural } from '../../lib/format';
import { when } from '../../lib/time';
import { told } from '../../lib/told';
import { evidence, howSure } from '../../lib/words';
import { useView } from '../../state/use-view';

/** The answer in ten seconds: how many, where, since, until, how sure. */
export function Head({ data }: { data: IncidentDetail }) {
  const pipeline = `/p/${encodeURIComponent(data.pipeline)}`;
  const around = { from: String(data.from * 1000 - 600_000), to: String(data.to * 1000 + 600_000), live: false };
  return (
    <>
      <div className="row">
        <nav className="row" aria-label="Breadcrumb" style={{ gap: 8 }}>
          <Go to="/loss" className="mut">
            Loss
          </Go>
          <span className="mut" aria-hidden>
            /
          </span>
          <h1>{data.pipeline}</h1>
        </nav>
        <State state={data.verdict} />
        <span className="mut">{data.row.where}</span>
        <span className="grow" />
        <CopyButton text={`${location.origin}${incidentPath(data.id)}`} label="Copy the link" />
        {data.query ? (
          <Go to="/explore" view={{ ...around, q: data.query }} className="btn">
            Explore
          </Go>
        ) : null}
        <Go to={pipeline} view={around} className="btn">
          Charts of that time
        </Go>
      </div>
      <section className={`card banner headline ${toneOf(data.verdict)}`} aria-label="In short">
        <HowMany data={data} />
        <Sentence text={data.sentence} />
        <Answers data={data} />
      </section>
    </>
  );
}

function HowMany({ data }: { data: IncidentDetail }) {
  if (data.lost > 0)
    return (
      <p className="big">
        <b className="bad">{count(data.lost)}</b> {data.lost === 1 ? 'record' : 'records'} lost
        {data.bound > 0 ? <span className="mut"> and ≤ {count(data.bound)} whose fate is not known</span> : null}
      </p>
    );
  return (
    <p className="big">
      <b>≤ {count(data.bound)}</b> records whose fate is not known
    </p>
  );
}

function Sentence({ text }: { text: string }) {
  const [view] = useView();
  const [first, rest] = split(told(text, view.tz, Date.now()));
  if (!first) return null;
  return (
    <p>
      <b>{first}</b> {rest}
    </p>
  );
}

function Answers({ data }: { data: IncidentDetail }) {
  const [view] = useView();
  const now = useClock(5000);
  const seconds = (data.still ? now / 1000 : data.to) - data.from;
  const stage = `/p/${encodeURIComponent(data.pipeline)}/stage/${encodeURIComponent(data.stage)}`;
  const { confidence } = data.row;
  const facts: Fact[] = [
    {
      name: 'Where',
      value: data.stage ? <Go to={stage}>{data.stage}</Go> : data.row.where,
      more: data.row.kind === 'balance' ? 'inside the stage' : 'on the way',
    },
    { name: 'Since', value: when(data.from * 1000, view.tz, now), more: duration(seconds) },
    {
      name: 'Until',
      value: data.still ? <Still known={data.lost > 0} /> : when(data.to * 1000, view.tz, now),
      more: plural(data.windows, 'window'),
    },
    { name: 'Share', value: data.share == null ? DASH : percent(data.share), more: 'of what came' },
    { name: 'Class', value: data.class || DASH },
    { name: 'How sure', value: howSure(confidence), more: confidence > 0 ? percent(confidence) : '' },
    {
      name: 'Evidence',
      value: evidence(data.level),
      more: data.revised > 0 ? <Revised n={data.revised} /> : '',
    },
  ];
  return <Facts facts={facts} label="In figures" />;
}

function Still({ known }: { known: boolean }) {
  return known ? <span className="bad">still losing</span> : <>still not known</>;
}
