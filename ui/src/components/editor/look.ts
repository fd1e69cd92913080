// How CodeMirror looks here, and where it lives: in a shadow root, because there it uses adopted
// style sheets, and the content security policy can forbid inline styles everywhere.
import { HighlightStyle } from '@codemirror/language';
import { EditorView } from '@codemirror/view';
import { tags } from '@lezer/highlight';

export const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.modifier, tags.operatorKeyword], color: 'var(--s2)' },
  { tag: [tags.function(tags.variableName), tags.standard(tags.variableName)], color: 'var(--acc-t)' },
  { tag: [tags.string, tags.special(tags.string)], color: 'var(--s3)' },
  { tag: [tags.number, tags.literal, tags.bool, tags.null], color: 'var(--s4)' },
  {
    tag: [tags.labelName, tags.propertyName, tags.definition(tags.propertyName)],
    color: 'var(--ink)',
    fontWeight: '600',
  },
  { tag: tags.comment, color: 'var(--mut)' },
]);

export const theme = EditorView.theme({
  '&': { fontSize: '13px', color: 'var(--ink)', backgroundColor: 'transparent' },
  '&.cm-focused': { outline: 'none' },
  '.cm-content': { fontFamily: 'var(--mono)', caretColor: 'var(--ink)', padding: '7px 0' },
  '.cm-gutters': { backgroundColor: 'transparent', color: 'var(--mut)', border: '0', fontFamily: 'var(--mono)' },
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
  '.cm-lint-marker': { width: '0.9em', height: '0.9em' },
});

/** The element in which the editor is built, inside the shadow root of `outer`. */
export function rootIn(outer: HTMLElement): { root: ShadowRoot; parent: HTMLElement } {
  const root = outer.shadowRoot ?? outer.attachShadow({ mode: 'open' });
  const parent = document.createElement('div');
  root.replaceChildren(parent);
  return { root, parent };
}
