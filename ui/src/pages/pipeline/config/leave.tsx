// Leaving a pipeline with a declaration that is typed and not stored: ask, rather than lose or forget it.
import { type ShouldBlockFn, useBlocker } from '@tanstack/react-router';
import { useCallback } from 'react';
import { Modal } from '../../../components/modal';
import { draftOf, dropDraft, useKept } from './drafts';

export function AskBeforeLeaving({ id }: { id: string }) {
  const kept = useKept(id) !== undefined;
  // Tabs and choices are views of the same page; the draft itself is asked, as it may be gone a moment before the hook is.
  const leaves = useCallback<ShouldBlockFn>(
    ({ current, next }) => draftOf(id) !== undefined && current.pathname !== next.pathname,
    [id],
  );
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
