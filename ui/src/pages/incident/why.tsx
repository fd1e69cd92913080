import { type IncidentDetail, list } from '../../api/types';
import { Examples } from '../../components/examples';
import { Reasons } from '../../components/reasons';
import { percent } from '../../lib/format';
import { howSure, restsOn } from '../../lib/words';

/** Why we say so, and records one can look for. */
export function Why({ data }: { data: IncidentDetail }) {
  const reasons = list(data.reasons);
  const examples = list(data.examples);
  const { confidence } = data.row;
  return (
    <div className="cols">
      <section className="card pad why" aria-label="Why we say so">
        <h2>Why we say so</h2>
        {reasons.length > 0 ? <Reasons reasons={reasons} /> : <p className="mut">No reason is recorded.</p>}
        <p className="mut">
          {confidence > 0 ? `Confidence ${percent(confidence)}, ${howSure(confidence)}: it` : 'It'} rests on{' '}
          {restsOn(data.level)}.
        </p>
      </section>
      <section className="card pad why" aria-label="Missing records">
        {examples.length > 0 ? (
          <Examples ids={examples} known={data.lost > 0} />
        ) : (
          <>
            <h2>{data.lost > 0 ? 'Missing records' : 'Single records'}</h2>
            <p className="mut">
              No ids are known: the stages count, and send no sample of message ids. With ids, single lost records can
              be looked for.
            </p>
          </>
        )}
      </section>
    </div>
  );
}
