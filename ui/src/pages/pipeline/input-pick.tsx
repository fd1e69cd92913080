import { useView } from '../../state/use-view';

interface Input {
  destination: string;
  group: string;
}

/** As it stands in the URL. */
export const keyOf = (i: Input) => `${i.destination}~${i.group}`;

/** Chooses one reader of one destination, where there are several. */
export function InputPick({ inputs, value }: { inputs: readonly Input[]; value: string }) {
  const [, set] = useView();
  if (inputs.length < 2) return null;
  return (
    <label className="field">
      <span className="sr">Destination and group</span>
      <select value={value} onChange={(e) => set({ grp: e.target.value })}>
        {inputs.map((i) => (
          <option key={keyOf(i)} value={keyOf(i)}>
            {i.destination} → {i.group || 'nobody'}
          </option>
        ))}
      </select>
    </label>
  );
}
