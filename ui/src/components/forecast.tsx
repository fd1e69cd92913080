// What happens next at the present rates, with the interval it is known to.
import type { ReactNode } from 'react';
import type { Forecast, Span } from '../api/types';
import { DASH, duration } from '../lib/format';
import { between } from '../lib/words';
import { Shape } from './state';

/** A span in words: the value, and its 80 % interval where it says more. */
export function SpanText({ span }: { span: Span }) {
  const { low, high } = span;
  const spread =
    low == null && high == null
      ? ''
      : high == null
        ? `${duration(low)} or never`
        : between(duration(low), duration(high));
  return (
    <>
      <b>{span.value == null ? 'never' : duration(span.value)}</b>
      {spread && spread !== duration(span.value) ? <span className="mut"> (80 %: {spread})</span> : null}
    </>
  );
}

const BY: Record<string, string> = { age: 'by age', size: 'by size', count: 'by count' };

export function Drain({ f, unknown }: { f: Forecast; unknown: boolean }) {
  if (!f.drain) return <span className="mut">{unknown ? 'not known' : 'nothing to drain'}</span>;
  if (f.drain.value == null)
    return (
      <span className="warn">
        never at this rate
        {f.drain.low != null ? <span className="mut"> (80 %: {duration(f.drain.low)} or never)</span> : null}
      </span>
    );
  return (
    <>
      in <SpanText span={f.drain} />
    </>
  );
}

/** Retention deletes unread records: a warning with a shape, or that it is not in sight. */
export function LossIn({ f }: { f: Forecast }) {
  const keeps = f.retention == null ? '' : `keeps ${duration(f.retention)}`;
  if (!f.loss_in) return <span className="mut">{keeps ? `${keeps}; no deletion in sight` : 'no limit known'}</span>;
  return (
    <span>
      <span className="warn mark">
        <Shape tone="late" /> deletes unread data
      </span>{' '}
      in <SpanText span={f.loss_in} />
      <span className="mut">
        {keeps ? `, ${keeps}` : ''}
        {f.loss_by ? `, ${BY[f.loss_by]}` : ''}
      </span>
    </span>
  );
}

/** How fast event time passes at the reader: below 1 it falls behind. */
export function Speed({ f }: { f: Forecast }) {
  if (f.speed == null) return <span className="mut">not known</span>;
  const word = f.speed > 1.005 ? 'catches up' : f.speed < 0.995 ? 'falls behind' : 'keeps up';
  return (
    <>
      <b>{f.speed.toFixed(2)} s</b> of event time per second <span className="mut">{word}</span>
    </>
  );
}

/** Consumers and skew, where the broker tells. */
function Readers({ f }: { f: Forecast }) {
  const parts = [
    f.consumers == null ? '' : `${f.consumers} ${f.consumers === 1 ? 'consumer' : 'consumers'}`,
    `${f.partitions} ${f.partitions === 1 ? 'partition' : 'partitions'}`,
    f.skew != null && f.skew >= 1.5 ? `partition ${f.partition || DASH} gets ${f.skew.toFixed(1)} × the mean` : '',
  ];
  return <span>{parts.filter(Boolean).join(', ')}</span>;
}

export function ForecastBox({ f, unknown, children }: { f: Forecast; unknown: boolean; children?: ReactNode }) {
  return (
    <section className="card pad forecast" aria-label={`Forecast of ${f.group} on ${f.destination}`}>
      <div className="row base">
        <h2>What comes next</h2>
        <span className="mut">
          {f.destination} → {f.group}, at the present rates
        </span>
        <span className="grow" />
        {children}
      </div>
      <dl>
        <div>
          <dt>Drains</dt>
          <dd>
            <Drain f={f} unknown={unknown} />
          </dd>
        </div>
        <div>
          <dt>Retention</dt>
          <dd>
            <LossIn f={f} />
          </dd>
        </div>
        <div>
          <dt>Speed</dt>
          <dd>
            <Speed f={f} />
          </dd>
        </div>
        <div>
          <dt>Readers</dt>
          <dd>
            <Readers f={f} />
          </dd>
        </div>
      </dl>
    </section>
  );
}
