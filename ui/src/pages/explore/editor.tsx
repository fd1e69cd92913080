// The PromQL editor.
import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap } from '@codemirror/commands';
import { bracketMatching, syntaxHighlighting } from '@codemirror/language';
import { lintKeymap } from '@codemirror/lint';
import { EditorState, Prec } from '@codemirror/state';
import { EditorView, keymap, placeholder } from '@codemirror/view';
import { PromQLExtension } from '@prometheus-io/codemirror-promql';
import { useEffect, useRef } from 'react';
import { colours, rootIn, theme } from '../../components/editor/look';

interface Props {
  value: string;
  onChange: (text: string) => void;
  run: (text: string) => void;
}

export default function Editor({ value, onChange, run }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const editor = useRef<EditorView>(null);
  const latest = useRef({ onChange, run });
  latest.current = { onChange, run };

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
          // Enter takes an open completion first, and only then runs the query.
          Prec.highest(
            keymap.of([
              ...completionKeymap,
              {
                key: 'Enter',
                run: (v) => {
                  latest.current.run(v.state.doc.toString());
                  return true;
                },
              },
              {
                key: 'Escape',
                run: (v) => {
                  v.contentDOM.blur();
                  return true;
                },
              },
            ]),
          ),
          keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap, ...lintKeymap]),
          history(),
          closeBrackets(),
          bracketMatching(),
          autocompletion({ icons: false }),
          syntaxHighlighting(colours),
          new PromQLExtension()
            .setComplete({ remote: { url: '', httpMethod: 'GET', fetchFn: (input, init) => fetch(input, init) } })
            .asExtension(),
          placeholder('A PromQL expression, for example rate(weir_collector_received_total[1m])'),
          EditorView.lineWrapping,
          EditorView.contentAttributes.of({ 'aria-label': 'PromQL expression' }),
          EditorView.updateListener.of((u) => {
            if (u.docChanged) latest.current.onChange(u.state.doc.toString());
          }),
          theme,
        ],
      }),
    });
    editor.current = view;
    return () => view.destroy();
  }, []);

  useEffect(() => {
    const view = editor.current;
    if (!view || view.state.doc.toString() === value) return;
    view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: value } });
  }, [value]);

  return <div ref={host} className="editor" />;
}
