/** Merge patch from a to b as docs/wire.md says; undefined when they are equal. */
export function diff(a: unknown, b: unknown): unknown;
