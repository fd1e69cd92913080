// What was declared, what weir proposes, and where the two differ.
import { useConfig } from '../../../api/hooks';
import type { PipelineConfig } from '../../../api/types';
import { CopyButton } from '../../../components/copy-button';
import { Refused } from '../../../components/note-form';
import { Screen } from '../../../components/screen';
import { when } from '../../../lib/time';
import { useView } from '../../../state/use-view';
import './config.css';
import { Editor } from './editor';
import { Findings } from './findings';
import { Twice } from './twice';
import { type Draft, useDraft } from './use-draft';

export default function ConfigTab({ id }: { id: string }) {
  const answer = useConfig(id);
  return (
    <Screen answer={answer} what={`the declaration of ${id}`} bones={[360]}>
      {(config) => <Content config={config} id={id} />}
    </Screen>
  );
}

function Content({ config, id }: { config: PipelineConfig; id: string }) {
  const draft = useDraft(id, config);
  return (
    <div className="config">
      <section className="card pad" aria-label="Declared">
        <div className="row base">
          <h2>Declared</h2>
          <Held config={config} />
        </div>
        <Editor
          label={`Declaration of ${id}, YAML`}
          value={config.editable ? draft.text : config.declared}
          readOnly={!config.editable}
          findings={draft.findings}
          onChange={draft.edit}
        />
        {config.editable ? <Actions draft={draft} declared={config.version > 0} /> : <ReadOnly config={config} />}
        <Findings
          findings={draft.findings}
          empty={
            draft.checking
              ? 'Checking …'
              : draft.changed
                ? draft.text.trim()
                  ? 'The check finds nothing to complain about.'
                  : 'Nothing is written.'
                : config.version > 0
                  ? 'What is declared is what is seen.'
                  : 'Nothing is declared; weir goes by what it finds.'
          }
        />
      </section>
      <section className="card pad" aria-label="Proposed">
        <div className="row base">
          <h2>Proposed</h2>
          <span className="mut">what weir found</span>
          <span className="grow" />
          <CopyButton text={config.proposed} label="Copy" />
          {config.editable ? (
            <Twice
              label="Use the proposal"
              sure="Press again to replace what you typed"
              asks={draft.changed}
              disabled={draft.text === config.proposed}
              act={() => draft.edit(config.proposed)}
            />
          ) : null}
        </div>
        <Editor label={`Proposal for ${id}, YAML`} value={config.proposed} readOnly findings={[]} />
      </section>
    </div>
  );
}

/** Who holds the declaration, since when. */
function Held({ config }: { config: PipelineConfig }) {
  const [view] = useView();
  if (config.source === 'none') return <span className="mut">nothing yet</span>;
  return (
    <span className="mut">
      {config.source === 'file' ? 'in a file' : `version ${config.version}`}
      {config.by ? ` by ${config.by}` : ''}
      {config.at > 0 ? `, ${when(config.at, view.tz, Date.now())}` : ''}
    </span>
  );
}

function ReadOnly({ config }: { config: PipelineConfig }) {
  if (config.source === 'file')
    return (
      <p>
        This declaration stands in <code>{config.file}</code> and is changed there; the server reads it again by itself.
      </p>
    );
  return <p>You may read this declaration and not change it. Ask whoever runs this weir server for a role that may.</p>;
}

function Actions({ draft, declared }: { draft: Draft; declared: boolean }) {
  return (
    <>
      {draft.conflict ? (
        <div className="row" role="alert">
          <span className="warn">Somebody else stored a newer version meanwhile.</span>
          <button type="button" className="btn" onClick={draft.reset}>
            Show theirs
          </button>
          <button type="button" className="btn" onClick={draft.rebase}>
            Keep mine, upon theirs
          </button>
        </div>
      ) : draft.error ? (
        <Refused error={draft.error} />
      ) : null}
      <div className="row">
        <button
          type="button"
          className="btn p"
          disabled={!draft.usable || draft.saving || draft.conflict}
          onClick={draft.save}
        >
          {draft.saving ? 'Storing …' : 'Store'}
        </button>
        <button type="button" className="btn" disabled={!draft.changed} onClick={draft.reset}>
          Undo all
        </button>
        <span className="mut">{draft.changed ? 'not stored yet' : ''}</span>
        <span className="grow" />
        {declared ? <Twice label="Delete declaration" sure="Press again to delete it" act={draft.remove} /> : null}
      </div>
    </>
  );
}
