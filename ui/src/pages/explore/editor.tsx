// The PromQL editor. It lives in a shadow root, because there CodeMirror uses adopted style sheets,
// and the content security policy can forbid inline styles everywhere.
import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap } from '@codemirror/commands';
import { bracketMatching, HighlightStyle, syntaxHighlighting } from '@codemirror/language';
import { lintKeymap } from '@codemirror/lint';
import { EditorState, Prec } from '@codemirror/state';
import { EditorView, keymap, placeholder } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import { PromQLExtension } from '@prometheus-io/codemirror-promql';
import { useEffect, useRef } from 'react';

const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.modifier, tags.operatorKeyword], color: 'var(--s2)' },
  { tag: [tags.function(tags.variableName), tags.standard(tags.variableName)], color: 'var(--acc-t)' },
  { tag: [tags.string, tags.special(tags.string)], color: 'var(--s3)' },
  { tag: [tags.number, tags.literal], color: 'var(--s4)' },
  { tag: tags.labelName, color: 'var(--ink)', fontWeight: '600' },
  { tag: tags.comment, color: 'var(--mut)' },
]);

const theme = EditorView.theme({
  '&': { fontSize: '13px', color: 'var(--ink)', backgroundColor: 'transparent' },
  '&.cm-focused': { outline: 'none' },
  '.cm-content': { fontFamily: 'var(--mono)', caretColor: 'var(--ink)', padding: '7px 0' },
  '.cm-cursor': { borderLeftColor: 'var(--ink)' },
  '.cm-placeholder': { color: 'var(--mut)' },
  '&.cm-focused .cm-selectionBackground, .cm-selectionBackground, ::selection': {
    backgroundColor: 'var(--okb) !important',
  },
  '.cm-tooltip': {
    backgroundColor: 'var(--panel)',
    border: '1px solid var(--line)',
    borderRadius: '8px',
    boxShadow: 'var(--shadow)',
    overflow: 'hidden',
  },
  '.cm-tooltip-autocomplete ul': { fontFamily: 'var(--mono)', fontSize: '12px', maxHeight: '260px' },
  '.cm-tooltip-autocomplete ul li': { padding: '3px 8px' },
  '.cm-tooltip-autocomplete ul li[aria-selected]': { backgroundColor: 'var(--okb)', color: 'var(--ink)' },
  '.cm-completionDetail': { color: 'var(--mut)', fontStyle: 'normal', marginLeft: '1em' },
  '.cm-completionMatchedText': { textDecoration: 'none', fontWeight: '700' },
  '.cm-completionInfo': { padding: '6px 10px', maxWidth: '320px', fontFamily: 'var(--sans)' },
  '.cm-matchingBracket': { backgroundColor: 'var(--okb) !important', outline: '1px solid var(--acc)' },
  '.cm-diagnostic': { fontFamily: 'var(--sans)', padding: '5px 10px' },
});

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
    const root = outer.shadowRoot ?? outer.attachShadow({ mode: 'open' });
    const parent = document.createElement('div');
    root.replaceChildren(parent);
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
