import { useSyncExternalStore } from 'react';

// As in the style sheet, where `.narrow` is shown.
const QUERY = '(max-width: 560px)';

function subscribe(changed: () => void): () => void {
  const media = matchMedia(QUERY);
  media.addEventListener('change', changed);
  return () => media.removeEventListener('change', changed);
}

/** Whether the window is so narrow that lists say in a line what their columns hold. */
export const useNarrow = (): boolean => useSyncExternalStore(subscribe, () => matchMedia(QUERY).matches);
