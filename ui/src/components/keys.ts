// Keys of product.md 4.7. Bare keys do nothing inside inputs and can be switched off (WCAG 2.1.4).
import { useEffect, useRef } from 'react';
import { type KeyBindingMap, tinykeys } from 'tinykeys';

const OFF = 'weir.keys-off';

export function keysOff(): boolean {
  try {
    return localStorage.getItem(OFF) === '1';
  } catch {
    return false;
  }
}

export function setKeysOff(off: boolean): void {
  try {
    if (off) localStorage.setItem(OFF, '1');
    else localStorage.removeItem(OFF);
  } catch {
    // storage forbidden: the switch holds for nobody, keys stay as they were
  }
}

/** True where typing must stay typing. */
export function isTyping(event: Event): boolean {
  const target = event.composedPath()[0] ?? event.target;
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
}

// After a `g`, the next letter belongs to the sequence (`g a`) and to no single key (`a`).
let sequenceUntil = 0;

function watchSequences(event: KeyboardEvent): void {
  if (event.key === 'Shift') return;
  const first = event.key === 'g' && !isTyping(event) && Date.now() > sequenceUntil;
  // A moment later, so that the handlers of this very key press still see the former state.
  setTimeout(() => {
    sequenceUntil = first ? Date.now() + 900 : 0;
  });
}

/** Starts watching for the first key of sequences; once, before any page binds its keys. */
export function startKeys(): void {
  window.addEventListener('keydown', watchSequences, { capture: true });
}

/** Returns false when the key was not for it after all; the event then goes on as if unbound. */
type Handler = (event: KeyboardEvent) => unknown;

/**
 * Binds keys while the component lives. Pages hear a key before the frame around them does, and a
 * key that was handled is marked as done. `always` works inside inputs too.
 */
export function useKeys(bindings: Record<string, Handler>, options: { always?: boolean; frame?: boolean } = {}): void {
  const latest = useRef(bindings);
  latest.current = bindings;
  const names = Object.keys(bindings).join('\n');
  const always = options.always ?? false;
  const frame = options.frame ?? false;
  useEffect(() => {
    const map: KeyBindingMap = {};
    for (const name of names.split('\n')) {
      map[name] = (event) => {
        const modified = event.ctrlKey || event.metaKey || event.altKey;
        if (event.defaultPrevented) return;
        if (!modified && !always && (isTyping(event) || keysOff() || document.querySelector('dialog[open]'))) return;
        // Plain letters must not also match with Ctrl held: Ctrl+D belongs to the browser.
        if (modified && !name.includes('+')) return;
        if (!name.includes(' ') && Date.now() < sequenceUntil) return;
        // An open menu closes first, by what it hears itself.
        if (name === 'Escape' && (event.target as Element).closest?.('.anchor')?.querySelector('.menu')) return;
        const handler = latest.current[name];
        if (!handler) return;
        if (handler(event) !== false) event.preventDefault();
      };
    }
    return tinykeys(window, map, { capture: !frame });
  }, [names, always, frame]);
}
