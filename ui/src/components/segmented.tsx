export interface Choice {
  value: string;
  label: string;
}

/** A row of toggles of which one is on. */
export function Segmented({
  label,
  choices,
  value,
  onChange,
}: {
  label: string;
  choices: readonly Choice[];
  value: string;
  onChange: (value: string) => void;
}) {
  return (
    <div className="seg" role="group" aria-label={label}>
      {choices.map((c) => (
        <button type="button" key={c.value} aria-pressed={c.value === value} onClick={() => onChange(c.value)}>
          {c.label}
        </button>
      ))}
    </div>
  );
}
