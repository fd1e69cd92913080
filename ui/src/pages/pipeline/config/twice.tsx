import { useState } from 'react';

/** A button that asks before it does what cannot be undone: it acts when it is pressed again. */
export function Twice({
  label,
  sure,
  asks = true,
  disabled,
  act,
}: {
  label: string;
  /** What it says when it asks. */
  sure: string;
  /** False where nothing would be lost. */
  asks?: boolean;
  disabled?: boolean;
  act: () => void;
}) {
  const [asked, setAsked] = useState(false);
  const asking = asked && asks;
  return (
    <button
      type="button"
      className="btn"
      disabled={disabled}
      onBlur={() => setAsked(false)}
      onClick={() => {
        if (asking || !asks) act();
        setAsked(asks && !asking);
      }}
    >
      {asking ? sure : label}
    </button>
  );
}
