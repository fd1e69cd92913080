import { useEffect, useState } from 'react';

/** The local clock, ticking; ages on the screen must grow even when nothing arrives. */
export function useClock(every = 1000): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), every);
    return () => clearInterval(timer);
  }, [every]);
  return now;
}
