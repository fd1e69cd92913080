// Until when, in one line under the cause: when the backlog is gone, when unread records are deleted.
import { type Forecast, list, type Pipeline, type Span } from '../../api/types';
import { Shape } from '../../components/state';
import { duration } from '../../lib/format';
import { useView } from '../../state/use-view';
import { keyOf } from './input-pick';
import { outlookOf } from './outlook';
import { WHAT_IF } from './whatif/panel';

export function OutlookLine({ data }: { data: Pipeline }) {
  const [view, set] = useView();
  const found = outlookOf(data);
  if (!found) return null;
  const { drains, deletes, kept } = found;
  const several = list(data.forecasts).length > 1;
  const chosen = drains ?? deletes;
  const open = () => {
    // An open panel is only gone to; one that opens goes there by itself.
    if (view.wi && !view.tab) document.getElementById(WHAT_IF)?.focus();
    else set({ tab: '', wi: view.wi || 'open', ...(chosen ? { grp: keyOf(chosen) } : {}) }, 'push');
  };
  return (
    <section className={`card banner outlook ${deletes ? 'late' : ''}`} aria-label="Until when">
      <span>
        <span className="mut">Drains:</span> <Gone span={drains?.drain} />
        <Reader f={drains} several={several} />
      </span>
      <span>
        {deletes ? (
          <>
            <span className="warn mark">
              <Shape tone="late" /> retention deletes unread data
            </span>{' '}
            in <b>{duration(deletes.loss_in?.value)}</b>
            <Reader f={deletes} several={several} />
          </>
        ) : (
          <span className="mut">
            {kept ? 'retention: no deletion of unread data in sight' : 'retention: no limit known'}
          </span>
        )}
      </span>
      {chosen ? (
        <button type="button" className="btn" onClick={open}>
          What if
        </button>
      ) : null}
    </section>
  );
}

function Gone({ span }: { span: Span | null | undefined }) {
  if (!span) return <span className="mut">not known</span>;
  if (span.value == null)
    return (
      <span className="warn mark">
        <Shape tone="late" /> never at these rates
      </span>
    );
  return (
    <>
      in <b>{duration(span.value)}</b>
      {span.low != null && span.high == null ? <span className="mut"> or never at these rates</span> : null}
    </>
  );
}

function Reader({ f, several }: { f: Forecast | undefined; several: boolean }) {
  return f && several ? (
    <span className="mut">
      {' '}
      ({f.destination} → {f.group || 'nobody'})
    </span>
  ) : null;
}
