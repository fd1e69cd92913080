import { useView } from '../state/use-view';

/** The text filter of a list; it lives in the URL, and `/` goes to it. */
export function FilterField({ label, placeholder = 'Filter' }: { label: string; placeholder?: string }) {
  const [view, set] = useView();
  return (
    <label className="field">
      <span className="sr">{label}</span>
      <input
        data-filter
        value={view.f}
        placeholder={placeholder}
        title={label}
        spellCheck={false}
        onChange={(e) => set({ f: e.target.value })}
        onKeyDown={(e) => {
          if (e.key === 'Escape' || e.key === 'Enter') e.currentTarget.blur();
        }}
      />
      <kbd>/</kbd>
    </label>
  );
}
