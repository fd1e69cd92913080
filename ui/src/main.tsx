import { QueryClientProvider } from '@tanstack/react-query';
import { RouterProvider } from '@tanstack/react-router';
import { createRoot } from 'react-dom/client';
import { queryClient } from './api/hooks';
import { startKeys } from './components/keys';
import { makeRouter } from './router';
import { startTheme } from './state/theme';
import './styles/tokens.css';
import './styles/base.css';

startTheme();
startKeys();
createRoot(document.getElementById('root') as HTMLElement).render(
  <QueryClientProvider client={queryClient}>
    <RouterProvider router={makeRouter()} />
  </QueryClientProvider>,
);
