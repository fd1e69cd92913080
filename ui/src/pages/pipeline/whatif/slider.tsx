import { useId } from 'react';

interface Props {
  label: string;
  /** undefined = as it is. */
  value: number | undefined;
  /** What it is now; undefined = nobody tells. */
  base: number | undefined;
  min: number;
  max: number;
  step: number;
  /** The number with its unit. */
  say: (n: number) => string;
  onChange: (value: number | undefined) => void;
}

/** One thing to change: a slider, its number, and the way back to as it is. */
export function Slider({ label, value, base, min, max, step, say, onChange }: Props) {
  const id = useId();
  const shown = value ?? base ?? min;
  const set = (n: number) => onChange(n === base ? undefined : n);
  return (
    <div className="slider">
      <label htmlFor={id}>{label}</label>
      <input
        id={id}
        type="range"
        min={min}
        max={max}
        step={step}
        value={shown}
        aria-valuetext={value === undefined && base === undefined ? 'as it is' : say(shown)}
        onChange={(e) => set(Number(e.target.value))}
      />
      <output htmlFor={id} className={value === undefined ? 'mut' : 'strong'}>
        {value === undefined && base === undefined ? 'as it is' : say(shown)}
      </output>
      <button
        type="button"
        className="ghost"
        disabled={value === undefined}
        aria-label={`${label}: as it is`}
        onClick={() => onChange(undefined)}
      >
        as it is
      </button>
    </div>
  );
}
