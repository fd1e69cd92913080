// Links that take time, zone and live along.
import { Link } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import { useView } from '../state/use-view';
import { carry, DEFAULT, encode, type View } from '../state/view';

export function Go({
  to,
  view: extra,
  className,
  children,
  ...rest
}: {
  to: string;
  view?: Partial<View>;
  className?: string;
  children: ReactNode;
  tabIndex?: number;
  'aria-label'?: string;
  'aria-current'?: 'page' | undefined;
}) {
  const [view] = useView();
  return (
    <Link
      to={to as never}
      search={{ ...carry(view), ...encode({ ...DEFAULT, ...extra }) } as never}
      className={className}
      {...rest}
    >
      {children}
    </Link>
  );
}
