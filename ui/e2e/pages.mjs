// The pages as the tests know them: where, and what shows that the content is there.
export const PAGES = [{ name: 'pipelines', path: '/pipelines', ready: 'table tbody tr' }];
