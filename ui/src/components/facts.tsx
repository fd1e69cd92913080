import type { ReactNode } from 'react';

export interface Fact {
  name: string;
  value: ReactNode;
  /** Stands behind it, muted. */
  more?: ReactNode;
}

/** Figures with their names, side by side. */
export function Facts({
  facts,
  label,
  className = '',
}: {
  facts: readonly Fact[];
  label?: string;
  className?: string;
}) {
  return (
    <dl className={`facts ${className}`} aria-label={label}>
      {facts.map((f) => (
        <div key={f.name}>
          <dt>{f.name}</dt>
          <dd>
            {f.value} {f.more ? <span className="mut light">{f.more}</span> : null}
          </dd>
        </div>
      ))}
    </dl>
  );
}
