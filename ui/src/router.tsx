// Path = object, query = view. Pages other than the first load when they are opened.
import { createRootRoute, createRoute, createRouter, type RouteComponent } from '@tanstack/react-router';
import { Lost } from './pages/lost';
import { PipelinesPage } from './pages/pipelines/page';
import { Shell } from './shell/shell';
import { parse, type Search, stringify } from './state/view';

const root = createRootRoute({ component: Shell, notFoundComponent: Lost });

const page = (path: string, component: RouteComponent) => createRoute({ getParentRoute: () => root, path, component });

const routes = [page('/', PipelinesPage), page('/pipelines', PipelinesPage)];

export const makeRouter = () =>
  createRouter({
    routeTree: root.addChildren(routes),
    parseSearch: (q) => parse(q),
    stringifySearch: (s) => stringify(s as Search),
    defaultPreload: 'intent',
    defaultNotFoundComponent: Lost,
  });
