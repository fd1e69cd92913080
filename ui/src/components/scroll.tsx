import { type CSSProperties, type ReactNode, useEffect, useRef, useState } from 'react';

/** A box that scrolls sideways; while it does, the keyboard can reach and move it. */
export function Scroll({
  label,
  className = '',
  style,
  children,
}: {
  label: string;
  className?: string;
  style?: CSSProperties;
  children: ReactNode;
}) {
  const box = useRef<HTMLDivElement>(null);
  const [over, setOver] = useState(false);
  useEffect(() => {
    const el = box.current;
    if (!el) return;
    const look = () => setOver(el.scrollWidth > el.clientWidth + 1 || el.scrollHeight > el.clientHeight + 1);
    const observer = new ResizeObserver(look);
    observer.observe(el);
    if (el.firstElementChild) observer.observe(el.firstElementChild);
    return () => observer.disconnect();
  }, []);
  const reach = over ? { tabIndex: 0, role: 'region', 'aria-label': `${label}, scrolls` } : {};
  return (
    <div className={`scroll ${className}`} ref={box} style={style} {...reach}>
      {children}
    </div>
  );
}
