// JSON merge patch (RFC 7396) as weir's live protocol uses it: arrays of objects with an id arrive
// as {"set":[…],"del":[ids],"order":[ids]?} under the array's name. See docs/wire.md.

type Json = unknown;
type Obj = Record<string, Json>;
type Item = { id: string | number } & Obj;

const isObject = (v: Json): v is Obj => typeof v === 'object' && v !== null && !Array.isArray(v);

const KEYED = new Set(['set', 'del', 'order']);

function isKeyed(patch: Obj, target: Json): boolean {
  if (Array.isArray(target)) return true;
  const keys = Object.keys(patch);
  return target == null && keys.length > 0 && keys.every((k) => KEYED.has(k) && Array.isArray(patch[k]));
}

/** Applies patch to target. Nothing is changed in place: parts without a change keep their identity. */
export function mergePatch<T>(target: T, patch: Json): T {
  if (!isObject(patch)) return patch as T;
  if (isKeyed(patch, target)) return mergeKeyed(target as Item[] | null, patch) as T;
  const out: Obj = isObject(target) ? { ...(target as Obj) } : {};
  for (const [k, v] of Object.entries(patch)) {
    if (v === null) delete out[k];
    else out[k] = mergePatch(out[k], v);
  }
  return out as T;
}

function mergeKeyed(target: Item[] | null, patch: Obj): Item[] {
  const byId = new Map((target ?? []).map((item) => [item.id, item]));
  for (const id of (patch.del as Item['id'][] | undefined) ?? []) byId.delete(id);
  // A set item is the whole new object, so it replaces; new ones go to the end until order says else.
  for (const item of (patch.set as Item[] | undefined) ?? []) byId.set(item.id, item);
  const order = patch.order as Item['id'][] | undefined;
  if (!order) return [...byId.values()];
  const out: Item[] = [];
  for (const id of order) {
    const item = byId.get(id);
    if (item) {
      out.push(item);
      byId.delete(id);
    }
  }
  return [...out, ...byId.values()];
}
