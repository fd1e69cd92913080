// The text of an editor and the value of the page, kept the same in both directions. A value that comes
// back from the page a moment after it was typed must not overwrite what was typed meanwhile.
import type { EditorView } from '@codemirror/view';
import { type RefObject, useCallback, useEffect, useRef } from 'react';

const MOST = 200;

/** What the editor told and has not seen back yet, oldest first. */
export class Echoes {
  private told: string[] = [];

  tell(text: string): void {
    this.told.push(text);
    if (this.told.length > MOST) this.told.shift();
  }

  /** True when the value is only the echo of something told; it and everything before it is then forgotten. */
  hear(value: string): boolean {
    const i = this.told.indexOf(value);
    this.told = i < 0 ? [] : this.told.slice(i + 1);
    return i >= 0;
  }
}

/** Puts values that come from elsewhere into the editor; call the result with each change of the text. */
export function useSync(editor: RefObject<EditorView | null>, value: string): (text: string) => void {
  const echoes = useRef(new Echoes());
  useEffect(() => {
    const view = editor.current;
    if (echoes.current.hear(value) || !view || view.state.doc.toString() === value) return;
    view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: value } });
  }, [editor, value]);
  return useCallback((text: string) => echoes.current.tell(text), []);
}
