import { list, type StageInput } from '../../api/types';
import { DrainCell, LossInCell } from '../../components/drain';
import { Scroll } from '../../components/scroll';
import { Sparkline } from '../../components/sparkline';
import { bound, count, DASH, duration, rate, readAgo } from '../../lib/format';

const COLUMNS = [
  'Lag',
  'Last hour',
  'Drains in',
  'Unread',
  'Deletes unread in',
  'Arrive /s',
  'Taken /s',
  'Members',
  'Rebalances, 1 h',
];

/** What the stage reads: the queue before it, who reads it, and where that leads. `at` is when the page was made, Unix milliseconds. */
export function Inputs({ inputs, at }: { inputs: readonly StageInput[]; at: number }) {
  if (inputs.length === 0) return null;
  return (
    <Scroll label="Inputs" className="card">
      <table aria-label="Inputs">
        <thead>
          <tr>
            <th scope="col" className="l">
              Reads
            </th>
            {COLUMNS.map((c) => (
              <th scope="col" key={c} className={c === 'Last hour' ? 'l' : undefined}>
                {c}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {inputs.map((i) => (
            <Row key={`${i.destination}~${i.group}`} i={i} at={at} />
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

// The states of a Kafka group in which nobody works.
const IDLE = /rebalanc|empty|dead/i;

function Row({ i, at }: { i: StageInput; at: number }) {
  const lag = i.lag;
  const trend = lag?.trend === 'growing' ? 'LATE' : lag?.seconds == null ? 'UNKNOWN' : 'OK';
  return (
    <tr className="tall">
      <td className="l">
        <b>{i.destination}</b> <span className="mut">{i.system}</span>
        <div className="mut">as {i.group}</div>
      </td>
      <td>
        <b>{duration(lag?.seconds)}</b>
        <div className="mut">{lag?.seconds == null ? '' : bound(lag.bound)}</div>
        <div className="mut">{lag ? readAgo(at, lag.at) : ''}</div>
      </td>
      <td className="l">
        <Sparkline values={list(lag?.history)} state={trend} trend={lag?.trend} />
      </td>
      <td>
        <DrainCell lag={lag} />
      </td>
      <td>{count(lag?.messages)}</td>
      <td>
        <LossInCell seconds={i.forecast.loss_in?.value} />
      </td>
      <td>{rate(i.rate)}</td>
      <td className={i.rate != null && i.taken != null && i.taken < i.rate * 0.97 ? 'warn' : undefined}>
        {rate(i.taken)}
      </td>
      <td>
        {i.members == null ? DASH : i.members === 0 ? <span className="warn">none</span> : count(i.members)}
        <div className={IDLE.test(i.group_state) ? 'warn' : 'mut'}>{i.group_state}</div>
      </td>
      <td className={i.rebalances != null && i.rebalances > 0 ? 'warn' : undefined}>{count(i.rebalances)}</td>
    </tr>
  );
}
