import { useState } from 'react';
import { NoteForm } from './note-form';

/** Opens the form; `pipeline` is the one the note is about, empty for all. */
export function NoteButton({ pipeline, className = 'btn' }: { pipeline: string; className?: string }) {
  const [open, setOpen] = useState(false);
  return (
    <>
      <button type="button" className={className} onClick={() => setOpen(true)}>
        Note what happened
      </button>
      {open ? <NoteForm pipeline={pipeline} close={() => setOpen(false)} /> : null}
    </>
  );
}
