// The pages as the tests know them: where, and what shows that the content is there.
export const PAGES = [
  { name: 'now', path: '/', ready: 'section[aria-label="Worst pipelines"] tbody tr' },
  { name: 'pipelines', path: '/pipelines', ready: 'table[aria-label="Pipelines"] tbody tr' },
  { name: 'pipeline', path: '/p/orders', ready: '.map .node' },
  { name: 'pipeline-losing', path: '/p/clicks?tab=partitions', ready: '.map .node' },
  { name: 'pipeline-unknown', path: '/p/ledger-sync', ready: '.map .node' },
  { name: 'pipeline-fan', path: '/p/vehicle-positions?sel=geofence&tab=stages', ready: '.node-panel' },
  { name: 'loss', path: '/loss', ready: '.loss-detail .bars' },
  { name: 'alerts', path: '/alerts', ready: 'table[aria-label="Alerts"] tbody tr' },
  { name: 'explore', path: '/explore?q=rate(weir_collector_received_total[1m])', ready: '.plot canvas' },
  { name: 'explore-empty', path: '/explore', ready: 'section[aria-label="Examples"]' },
  { name: 'explore-error', path: '/explore?q=rate(up[5m]', ready: '[role="alert"]' },
  { name: 'traces', path: '/traces', ready: 'table[aria-label="Traces"] tbody tr' },
  { name: 'trace', path: '/t/00000000000000000000000000000003', ready: '.span-row' },
  { name: 'self', path: '/self', ready: 'table[aria-label="Doors of the server"]' },
];
