import { type KeyboardEvent, type ReactNode, useEffect, useRef } from 'react';

/** Tabs with arrow keys; the panel is named by its tab. */
export function Tabs({
  label,
  tabs,
  value,
  onChange,
  children,
}: {
  label: string;
  tabs: readonly string[];
  value: string;
  onChange: (tab: string) => void;
  children: ReactNode;
}) {
  const bar = useRef<HTMLDivElement>(null);
  // On a narrow window the chosen tab must be in sight.
  useEffect(() => {
    const b = bar.current;
    const on = b?.children[tabs.indexOf(value)] as HTMLElement | undefined;
    if (b && on) b.scrollLeft = on.offsetLeft - b.offsetLeft - (b.clientWidth - on.clientWidth) / 2;
  }, [value, tabs]);
  const move = (event: KeyboardEvent) => {
    const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
    if (!step) return;
    event.preventDefault();
    const next = (tabs.indexOf(value) + step + tabs.length) % tabs.length;
    onChange(tabs[next] as string);
    (bar.current?.children[next] as HTMLElement | undefined)?.focus();
  };
  return (
    <>
      <div className="tabs" role="tablist" aria-label={label} ref={bar} onKeyDown={move}>
        {tabs.map((t) => (
          <button
            type="button"
            key={t}
            role="tab"
            id={`tab-${t}`}
            aria-selected={t === value}
            aria-controls="tab-panel"
            tabIndex={t === value ? 0 : -1}
            onClick={() => onChange(t)}
          >
            {t}
          </button>
        ))}
      </div>
      <div role="tabpanel" id="tab-panel" aria-labelledby={`tab-${value}`} className="screen">
        {children}
      </div>
    </>
  );
}
