// Leaving a pipeline with a declaration that is typed and not stored: ask, rather than lose or forget it.
import { type ShouldBlockFn, useBlocker } from '@tanstack/react-router';
import { Modal } from '../../../components/modal';
import { dropDraft, useKept } from './drafts';

/** Tabs and choices are views of the same page. */
const leaves: ShouldBlockFn = ({ current, next }) => current.pathname !== next.pathname;

export function AskBeforeLeaving({ id }: { id: string }) {
  const kept = useKept(id) !== undefined;
  const blocker = useBlocker({
    disabled: !kept,
    // The browser asks by itself where the whole interface goes away, and the draft with it.
    enableBeforeUnload: kept,
    shouldBlockFn: leaves,
    withResolver: true,
  });
  if (blocker.status !== 'blocked') return null;
  return (
    <Modal label="The declaration is not stored" close={blocker.reset}>
      <div className="pad form">
        <h2>The declaration of {id} is not stored.</h2>
        <p>The draft is kept under Config as long as this window is open.</p>
        <div className="row">
          <button type="button" className="btn p" onClick={blocker.reset}>
            Stay
          </button>
          <button type="button" className="btn" onClick={blocker.proceed}>
            Leave, keep the draft
          </button>
          <button
            type="button"
            className="btn"
            onClick={() => {
              blocker.proceed();
              dropDraft(id);
            }}
          >
            Leave without it
          </button>
        </div>
      </div>
    </Modal>
  );
}
