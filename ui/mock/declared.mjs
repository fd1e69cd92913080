// Declared pipelines of the simulated world: what people wrote, what weir proposes, who may write.
import { find, START } from './world.mjs';

/** YAML of what the world holds, the way the server proposes it. */
function proposed(p) {
  const flat = p.chain.flat();
  const lines = [`id: ${p.id}`, 'slo:', '  freshness: 60s', '  completeness: 0.9999', 'stages:'];
  flat.forEach((c, i) => {
    if (c.kind === 'queue') return;
    lines.push(`  - name: ${c.name}`, `    kind: ${c.kind === 'stage' ? 'map' : c.kind}`);
    const before = flat[i - 1];
    const after = flat[i + 1];
    if (before?.kind === 'queue')
      lines.push(`    reads: [{destination: ${before.name}, group: ${c.id}, system: ${before.system}}]`);
    if (after?.kind === 'queue') lines.push(`    writes: [${after.name}]`);
  });
  return `${lines.join('\n')}\n`;
}

const docs = new Map();

function doc(id) {
  const p = find(id);
  if (!p) return undefined;
  if (!docs.has(id)) {
    const declared = id === 'orders' || id === 'clicks' || id === 'payments';
    let yaml = declared ? proposed(p) : '';
    if (id === 'orders')
      yaml = yaml
        .replace('  freshness: 60s', '  freshness: 30s')
        .replace(/ {2}- name: sink-es[\s\S]*?(?= {2}- name: orders-v2)/, '');
    docs.set(id, {
      declared: yaml,
      version: declared ? 3 : 0,
      by: declared ? 'mira' : '',
      at: declared ? START - 9 * 86_400e3 : 0,
    });
  }
  return docs.get(id);
}

const SOURCE = { clicks: 'file' };
const LOCKED = new Set(['clicks', 'payments']);

export function config(id) {
  const d = doc(id);
  if (!d) return undefined;
  return {
    id,
    declared: d.declared,
    version: d.version,
    by: d.by,
    at: d.at,
    source: SOURCE[id] ?? (d.version ? 'catalog' : 'none'),
    file: SOURCE[id] ? '/etc/weir/pipelines/clicks.yaml' : '',
    proposed: proposed(find(id)),
    diff: d.version ? differences(id, d.declared) : [],
    editable: !LOCKED.has(id),
  };
}

const lineOf = (yaml, text) => yaml.split('\n').findIndex((l) => l.includes(text)) + 1;

function differences(id, yaml) {
  const out = [];
  for (const c of find(id).chain.flat()) {
    if (c.kind === 'queue' || yaml.includes(`- name: ${c.name}`)) continue;
    out.push({ kind: 'extra', line: 0, text: `${c.name} takes part, and nobody declared it.` });
  }
  for (const [, name] of yaml.matchAll(/- name: (\S+)/g))
    if (
      !find(id)
        .chain.flat()
        .some((c) => c.name === name)
    )
      out.push({
        kind: 'missing',
        line: lineOf(yaml, `- name: ${name}`),
        text: `${name} is declared, and nothing of it is seen.`,
      });
  return out;
}

const KEYS = new Set([
  'id',
  'slo',
  'freshness',
  'completeness',
  'stages',
  'name',
  'kind',
  'reads',
  'writes',
  'group',
  'ratio',
]);

export function check(id, yaml) {
  const findings = [];
  yaml.split('\n').forEach((l, i) => {
    const key = /^\s*(?:- )?([\w-]+):/.exec(l)?.[1];
    if (l.includes('\t'))
      findings.push({ kind: 'error', line: i + 1, text: 'cannot read a tab: YAML is indented with spaces' });
    else if (key && !KEYS.has(key))
      findings.push({
        kind: 'error',
        line: i + 1,
        text: `cannot use the key "${key}": known are ${[...KEYS].join(', ')}`,
      });
    else if (l.trim() && !l.trim().startsWith('#') && !key && !/^\s*- /.test(l))
      findings.push({ kind: 'error', line: i + 1, text: `cannot read "${l.trim()}": want key: value` });
  });
  if (!/^stages:/m.test(yaml)) findings.push({ kind: 'error', line: 1, text: 'cannot use a pipeline without stages' });
  const ok = findings.length === 0;
  return { ok, findings: ok ? differences(id, yaml) : findings };
}

/** Stores; undefined for no such pipeline, 'conflict' for another version, 'locked' where it may not be written. */
export function put(id, yaml, version) {
  const d = doc(id);
  if (!d) return undefined;
  if (LOCKED.has(id)) return 'locked';
  if (d.version !== version) return 'conflict';
  if (!check(id, yaml).ok) return 'invalid';
  Object.assign(d, { declared: yaml, version: d.version + 1, by: 'you', at: Date.now() });
  return config(id);
}

/** Somebody else saves in between, for tests. */
export function meddle(id) {
  const d = doc(id);
  Object.assign(d, { version: d.version + 1, by: 'mira', at: Date.now(), declared: `${d.declared}# meanwhile\n` });
}

export function remove(id) {
  const d = doc(id);
  if (!d) return undefined;
  Object.assign(d, { declared: '', version: 0, by: '', at: 0 });
  return {};
}
