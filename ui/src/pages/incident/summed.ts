// What the equation of an incident adds up: its figures must not be taken for those of the whole.
import { count, plural } from '../../lib/format';

/** `all` windows are concerned, of `inside` the balances are at hand, of `any` with those around it. */
export function summed(all: number, inside: number, any: number): string {
  if (inside === 0)
    return any > 0 ? `${plural(any, 'window')} around it, none of its own is at hand` : 'No balance is at hand';
  if (inside < all) return `Newest ${count(inside)} of ${plural(all, 'window')}`;
  if (inside > all) return `${plural(inside, 'window')} from its begin to its end`;
  return all === 1 ? 'Its one window' : `All ${count(all)} windows`;
}
