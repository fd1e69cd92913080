import { act, cleanup, fireEvent, render, screen } from '@testing-library/react';
import { useState } from 'react';
import { afterEach, expect, it } from 'vitest';
import { useKeys } from './keys';
import { useRows } from './rows';

afterEach(cleanup);

const press = (key: string) => act(() => void fireEvent.keyDown(document.body, { key, code: key }));

/** A list whose cursor is its choice, as in the ledger. */
function Chosen({ ids, opened = [] }: { ids: readonly string[]; opened?: string[] }) {
  const [sel, setSel] = useState('b');
  const at = Math.max(0, ids.indexOf(sel));
  const [cursor] = useRows(ids.length, (i) => opened.push(ids[i] as string), {
    at,
    onMove: (i) => setSel(ids[i] as string),
  });
  return (
    <p>
      {sel} {cursor}
    </p>
  );
}

it('moves the choice of the page with the cursor, and Enter is for the row that is drawn', () => {
  const opened: string[] = [];
  render(<Chosen ids={['a', 'b', 'c', 'd']} opened={opened} />);
  expect(screen.getByText('b 1')).toBeTruthy();
  press('j');
  expect(screen.getByText('c 2')).toBeTruthy();
  press('j');
  press('j');
  expect(screen.getByText('d 3')).toBeTruthy();
  press('k');
  press('Enter');
  expect(opened).toEqual(['c']);
});

it('follows the chosen row to its new place, and comes back with the rows', () => {
  const { rerender } = render(<Chosen ids={['a', 'b', 'c']} />);
  rerender(<Chosen ids={['b', 'a', 'c']} />);
  expect(screen.getByText('b 0')).toBeTruthy();
  rerender(<Chosen ids={[]} />);
  rerender(<Chosen ids={['a', 'c', 'b']} />);
  expect(screen.getByText('b 2')).toBeTruthy();
  rerender(<Chosen ids={['a', 'c']} />);
  expect(screen.getByText('b 0')).toBeTruthy();
});

function Free({ n }: { n: number }) {
  const [cursor] = useRows(n, () => undefined);
  return <p>at {cursor}</p>;
}

it('keeps its own cursor where the page chooses nothing, and within the rows', () => {
  const { rerender } = render(<Free n={3} />);
  expect(screen.getByText('at -1')).toBeTruthy();
  press('j');
  press('j');
  rerender(<Free n={5} />);
  expect(screen.getByText('at 1')).toBeTruthy();
  rerender(<Free n={1} />);
  expect(screen.getByText('at 0')).toBeTruthy();
});

it('leaves Escape to an open menu', () => {
  let closed = 0;
  function Panel() {
    useKeys({ Escape: () => closed++ });
    return (
      <>
        <div className="anchor">
          <div className="menu">
            <button type="button">in the menu</button>
          </div>
        </div>
        <button type="button">elsewhere</button>
      </>
    );
  }
  render(<Panel />);
  fireEvent.keyDown(screen.getByText('in the menu'), { key: 'Escape', code: 'Escape' });
  expect(closed).toBe(0);
  fireEvent.keyDown(screen.getByText('elsewhere'), { key: 'Escape', code: 'Escape' });
  expect(closed).toBe(1);
});
