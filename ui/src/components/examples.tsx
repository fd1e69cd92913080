import { CopyButton } from './copy-button';
import { Go } from './link';

const MOST = 12;

/** Ids of lost records to look for elsewhere; those of traces lead to them. Where it is not `known` that they are lost, the heading does not say so. */
export function Examples({ ids, known = true }: { ids: readonly string[]; known?: boolean }) {
  return (
    <>
      <h2>{known ? 'Missing ids' : 'Ids seen on one side only'}</h2>
      <ul className="ids mono">
        {ids.slice(0, MOST).map((e) => (
          <li key={e}>{/^[0-9a-f]{32}$/.test(e) ? <Go to={`/t/${e}`}>trace {e}</Go> : e}</li>
        ))}
      </ul>
      <div className="row">
        <CopyButton text={ids.join('\n')} label={ids.length === 1 ? 'Copy the id' : `Copy all ${ids.length} ids`} />
        {ids.length > MOST ? <span className="mut">{MOST} are shown</span> : null}
      </div>
    </>
  );
}
