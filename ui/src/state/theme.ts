// Light, dark or as the system says: kept in the browser, set on <html data-theme>.
import { useSyncExternalStore } from 'react';

export type Theme = 'light' | 'dark';

const KEY = 'weir.theme';
const listeners = new Set<() => void>();
const system = () => (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');

function stored(): Theme | undefined {
  try {
    const t = localStorage.getItem(KEY);
    return t === 'light' || t === 'dark' ? t : undefined;
  } catch {
    return undefined; // storage may be forbidden; the system's choice is good enough
  }
}

export const currentTheme = (): Theme => stored() ?? system();

function apply(): void {
  document.documentElement.dataset.theme = currentTheme();
  for (const f of listeners) f();
}

/** Sets the theme at the start and follows the system until the reader chooses. */
export function startTheme(): void {
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', apply);
  apply();
}

export function toggleTheme(): void {
  const next: Theme = currentTheme() === 'dark' ? 'light' : 'dark';
  try {
    // Choosing what the system says anyway means: follow the system.
    if (next === system()) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, next);
  } catch {
    document.documentElement.dataset.theme = next;
  }
  apply();
}

export function useTheme(): Theme {
  return useSyncExternalStore((f) => {
    listeners.add(f);
    return () => listeners.delete(f);
  }, currentTheme);
}
