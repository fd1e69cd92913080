// As much of YAML as its colours need: keys, comments, texts, numbers.
import { StreamLanguage } from '@codemirror/language';

export const yaml = StreamLanguage.define<Record<string, never>>({
  name: 'yaml',
  startState: () => ({}),
  languageData: { commentTokens: { line: '#' } },
  token(stream) {
    if (stream.eatSpace()) return null;
    if (stream.match(/^#.*/)) return 'comment';
    if (stream.match(/^"(?:[^"\\]|\\.)*"/) || stream.match(/^'(?:[^']|'')*'/)) return 'string';
    if (stream.match(/^[\w.-]+(?=\s*:(\s|$))/)) return 'propertyName';
    if (stream.match(/^(?:true|false|null)\b/)) return 'bool';
    if (stream.match(/^-?\d+(?:\.\d+)?(?:%|ms|[smhdw])?(?=[\s,\]}]|$)/)) return 'number';
    if (!stream.match(/^[\w./~-]+/)) stream.next();
    return null;
  },
});
