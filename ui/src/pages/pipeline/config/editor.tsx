// The YAML editor of a declaration, with the findings of the check at their lines.
import { defaultKeymap, history, historyKeymap, indentWithTab } from '@codemirror/commands';
import { indentUnit, syntaxHighlighting } from '@codemirror/language';
import { type Diagnostic, lintGutter, lintKeymap, setDiagnostics } from '@codemirror/lint';
import { EditorState } from '@codemirror/state';
import { EditorView, keymap, lineNumbers, placeholder } from '@codemirror/view';
import { useEffect, useRef } from 'react';
import type { ConfigFinding } from '../../../api/types';
import { colours, rootIn, theme } from '../../../components/editor/look';
import { useSync } from '../../../components/editor/sync';
import { yaml } from '../../../components/editor/yaml';

interface Props {
  label: string;
  value: string;
  readOnly: boolean;
  findings: readonly ConfigFinding[];
  onChange?: (text: string) => void;
}

const SEVERITY: Record<string, Diagnostic['severity']> = { error: 'error', missing: 'warning', extra: 'info' };

export function Editor({ label, value, readOnly, findings, onChange }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const editor = useRef<EditorView>(null);
  const told = useSync(editor, value);
  const latest = useRef(onChange);
  latest.current = onChange;

  // biome-ignore lint/correctness/useExhaustiveDependencies: built once; the value follows below
  useEffect(() => {
    const outer = host.current;
    if (!outer) return;
    const { root, parent } = rootIn(outer);
    const view = new EditorView({
      parent,
      root,
      state: EditorState.create({
        doc: value,
        extensions: [
          // Tab indents, so Escape is the way out for those who have only a keyboard.
          keymap.of([
            {
              key: 'Escape',
              run: (v) => {
                v.contentDOM.blur();
                return true;
              },
            },
            ...(readOnly ? [] : [indentWithTab]),
            ...defaultKeymap,
            ...historyKeymap,
            ...lintKeymap,
          ]),
          history(),
          lineNumbers(),
          lintGutter(),
          yaml,
          indentUnit.of('  '),
          syntaxHighlighting(colours),
          placeholder('Nothing is declared.'),
          EditorState.readOnly.of(readOnly),
          EditorView.contentAttributes.of({ 'aria-label': label, 'aria-readonly': String(readOnly), tabindex: '0' }),
          EditorView.updateListener.of((u) => {
            if (!u.docChanged) return;
            const text = u.state.doc.toString();
            told(text);
            latest.current?.(text);
          }),
          theme,
        ],
      }),
    });
    editor.current = view;
    return () => view.destroy();
  }, [readOnly]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: the findings belong to the text that is shown
  useEffect(() => {
    const view = editor.current;
    if (!view) return;
    const { doc } = view.state;
    const marks = findings
      .filter((f) => f.line > 0 && f.line <= doc.lines)
      .map((f): Diagnostic => {
        const line = doc.line(f.line);
        const begin = line.from + (line.text.length - line.text.trimStart().length);
        return { from: Math.min(begin, line.to), to: line.to, severity: SEVERITY[f.kind] ?? 'info', message: f.text };
      });
    view.dispatch(setDiagnostics(view.state, marks));
  }, [findings, value]);

  return <div ref={host} className="yaml" />;
}
