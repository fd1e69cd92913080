// Path = object, query = view. Pages other than the first load when they are opened.
import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
  type RouteComponent,
} from '@tanstack/react-router';
import { Lost } from './pages/lost';
import { PipelinesPage } from './pages/pipelines/page';
import { Shell } from './shell/shell';
import { parse, type Search, stringify } from './state/view';

const root = createRootRoute({ component: Shell, notFoundComponent: Lost });

const page = (path: string, component: RouteComponent) => createRoute({ getParentRoute: () => root, path, component });

const routes = [
  page(
    '/',
    lazyRouteComponent(() => import('./pages/now/page'), 'NowPage'),
  ),
  page('/pipelines', PipelinesPage),
  page(
    '/groups',
    lazyRouteComponent(() => import('./pages/groups/page'), 'GroupsPage'),
  ),
  page(
    '/p/$id',
    lazyRouteComponent(() => import('./pages/pipeline/page'), 'PipelinePage'),
  ),
  page(
    '/p/$id/stage/$stage',
    lazyRouteComponent(() => import('./pages/stage/page'), 'StagePage'),
  ),
  page(
    '/loss',
    lazyRouteComponent(() => import('./pages/loss/page'), 'LossPage'),
  ),
  page(
    '/loss/$id',
    lazyRouteComponent(() => import('./pages/incident/page'), 'IncidentPage'),
  ),
  page(
    '/alerts',
    lazyRouteComponent(() => import('./pages/alerts/page'), 'AlertsPage'),
  ),
  page(
    '/explore',
    lazyRouteComponent(() => import('./pages/explore/page'), 'ExplorePage'),
  ),
  page(
    '/traces',
    lazyRouteComponent(() => import('./pages/traces/page'), 'TracesPage'),
  ),
  page(
    '/t/$id',
    lazyRouteComponent(() => import('./pages/trace/page'), 'TracePage'),
  ),
  page(
    '/self',
    lazyRouteComponent(() => import('./pages/self/page'), 'SelfPage'),
  ),
];

export const makeRouter = () =>
  createRouter({
    routeTree: root.addChildren(routes),
    parseSearch: (q) => parse(q),
    stringifySearch: (s) => stringify(s as Search),
    defaultPreload: 'intent',
    defaultNotFoundComponent: Lost,
  });
