// The PromQL editor.
import {
  autocompletion,
  closeBrackets,
  closeBracketsKeymap,
  completionKeymap,
  completionStatus,
} from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap } from '@codemirror/commands';
import { bracketMatching, syntaxHighlighting } from '@codemirror/language';
import { lintKeymap } from '@codemirror/lint';
import { EditorState, Prec } from '@codemirror/state';
import { EditorView, keymap, placeholder } from '@codemirror/view';
import { PromQLExtension } from '@prometheus-io/codemirror-promql';
import { useEffect, useRef } from 'react';
import { colours, rootIn, theme } from '../../components/editor/look';
import { useSync } from '../../components/editor/sync';

interface Props {
  value: string;
  onChange: (text: string) => void;
  run: (text: string) => void;
}

export default function Editor({ value, onChange, run }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const editor = useRef<EditorView>(null);
  const told = useSync(editor, value);
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
          // Enter takes an open completion first, and only then runs the query. A list that has just opened takes
          // no keys yet; half a name is not run in its stead.
          Prec.highest(
            keymap.of([
              ...completionKeymap,
              {
                key: 'Enter',
                run: (v) => {
                  if (completionStatus(v.state) !== 'active') latest.current.run(v.state.doc.toString());
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
            if (!u.docChanged) return;
            const text = u.state.doc.toString();
            told(text);
            latest.current.onChange(text);
          }),
          theme,
        ],
      }),
    });
    editor.current = view;
    return () => view.destroy();
  }, []);

  return <div ref={host} className="editor" />;
}
