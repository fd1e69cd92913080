// Package dashboards holds dashboards as files for Grafana on top of weir's Prometheus API.
//
// The files come from this folder and go to Grafana by provisioning (docs/grafana.md); weir's own pages do not use them.
package dashboards

import "embed"

// Grafana holds the dashboards and the provisioning file of the data sources.
//
//go:embed grafana
var Grafana embed.FS
