import { useState } from 'react';
import { keysOff, setKeysOff } from '../components/keys';
import { Modal } from '../components/modal';
import { PAGES } from './pages';

const GENERAL: [string[], string][] = [
  [['Ctrl K'], 'search, or run a command'],
  [['/'], 'filter'],
  [['j', 'k'], 'next and previous row'],
  [['Enter'], 'open the row'],
  [['Esc'], 'back, close'],
  [['[', ']'], 'earlier, later'],
  [['+', '-'], 'zoom in, zoom out'],
  [['c'], 'compare a pipeline with yesterday, last week'],
  [['l'], 'live on or off'],
  [['u'], 'UTC or local time'],
  [['d'], 'dark or light'],
  [['y'], 'copy a link to exactly this'],
  [['?'], 'this page'],
];

const TRACE: [string[], string][] = [
  [['w', 's'], 'zoom in, zoom out'],
  [['a', 'd'], 'move left, right'],
  [['f', 'b'], 'next, previous span'],
  [['h'], 'fold or unfold'],
];

export function Help({ close }: { close: () => void }) {
  const [off, setOff] = useState(keysOff());
  return (
    <Modal label="Keys" close={close}>
      <div className="pad" style={{ display: 'grid', gap: 14 }}>
        <div className="row">
          <h2>Keys</h2>
          <span className="grow" />
          <button type="button" className="btn" onClick={close}>
            Close
          </button>
        </div>
        <div className="cards">
          <Keys title="Everywhere" rows={GENERAL} />
          <div style={{ display: 'grid', gap: 14, alignContent: 'start' }}>
            <Keys title="Pages" rows={PAGES.filter((p) => p.key).map((p) => [[`g ${p.key}`], p.name])} />
            <Keys title="In a trace" rows={TRACE} />
          </div>
        </div>
        <label className="row" style={{ gap: 8 }}>
          <input
            type="checkbox"
            checked={!off}
            onChange={(e) => {
              setKeysOff(!e.target.checked);
              setOff(!e.target.checked);
            }}
          />
          Single keys do things (Ctrl K always does)
        </label>
      </div>
    </Modal>
  );
}

function Keys({ title, rows }: { title: string; rows: [string[], string][] }) {
  return (
    <section>
      <h3 style={{ marginBottom: 6 }}>{title}</h3>
      <dl className="keys">
        {rows.map(([keys, what]) => (
          <div key={what}>
            <dt>
              {keys.map((k) => (
                <kbd key={k}>{k}</kbd>
              ))}
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}
