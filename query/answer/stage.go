package answer

// StagePage answers GET /api/v1/pipelines/{id}/stages/{stage}: why is this stage slow?
type StagePage struct {
	At           int64          `json:"at"`
	Pipeline     string         `json:"pipeline"`
	Node         Node           `json:"node"`
	Row          StageRow       `json:"row"`
	Cause        *Cause         `json:"cause"`
	Inputs       []StageInput   `json:"inputs"`
	Outputs      []string       `json:"outputs" doc:"destinations written"`
	Containers   []ContainerRow `json:"containers"`
	Versions     []VersionRow   `json:"versions"`
	Partitions   []PartitionRow `json:"partitions"`
	Losses       []LossRow      `json:"losses" doc:"its balance and the edges it reads, last 24 h"`
	Latency      []PathLatency  `json:"latency"`
	Watermark    *float64       `json:"watermark" doc:"how far its watermark is behind now, seconds"`
	Busy         *float64       `json:"busy" doc:"0..1"`
	Pressure     *float64       `json:"pressure" doc:"0..1 share of the time its output was blocked"`
	Slow         []Dependency   `json:"slow" doc:"what its spans wait for, slowest first"`
	Changes      []Change       `json:"changes"`
	Completeness Completeness   `json:"completeness"`
}

// StageInput is one destination a stage reads as one group.
type StageInput struct {
	Destination string   `json:"destination"`
	Group       string   `json:"group"`
	System      string   `json:"system"`
	Lag         *Lag     `json:"lag"`
	Rate        *float64 `json:"rate" doc:"records per second that arrive"`
	Taken       *float64 `json:"taken" doc:"records per second the group takes"`
	Forecast    Forecast `json:"forecast"`
	Members     *int     `json:"members" doc:"of the group; null = the broker does not tell"`
	GroupState  string   `json:"group_state" doc:"Stable, PreparingRebalance, Empty, Dead …; empty = the broker does not tell"`
	Rebalances  *float64 `json:"rebalances" doc:"in the last hour"`
}

// ContainerRow is one container or process of a stage.
type ContainerRow struct {
	Node      string   `json:"node"`
	Container string   `json:"container"`
	Service   string   `json:"service"`
	Version   string   `json:"version"`
	CPU       *float64 `json:"cpu" doc:"cores used"`
	CPULimit  *float64 `json:"cpu_limit" doc:"cores; null = none"`
	Throttled *float64 `json:"throttled" doc:"0..1 share of periods throttled"`
	Memory    *float64 `json:"memory" doc:"bytes"`
	MemLimit  *float64 `json:"mem_limit" doc:"bytes; null = none"`
	OOM       *float64 `json:"oom" doc:"times killed for memory, last hour"`
}

// VersionRow is a version a stage runs or ran.
type VersionRow struct {
	Version   string `json:"version"`
	Image     string `json:"image"`
	Instances int    `json:"instances"`
	First     int64  `json:"first" doc:"Unix ms first seen"`
	Last      int64  `json:"last" doc:"Unix ms last seen"`
}

// Dependency is what the process spans of a stage wait for.
type Dependency struct {
	Name  string  `json:"name" doc:"operation, with the peer where it is known"`
	Share float64 `json:"share" doc:"0..1 of the time of the process spans"`
	P99   float64 `json:"p99" doc:"seconds"`
	Spans int64   `json:"spans"`
}

// PartitionHeat answers GET /api/v1/pipelines/{id}/heat: the backlog of each partition over time, as one group reads it.
type PartitionHeat struct {
	Destination string      `json:"destination"`
	Group       string      `json:"group"`
	From        int64       `json:"from" doc:"Unix ms"`
	To          int64       `json:"to"`
	Step        int64       `json:"step" doc:"ms"`
	Partitions  []string    `json:"partitions"`
	Backlog     [][]float64 `json:"backlog" doc:"records, by partition, then time; -1 = not known"`
	Max         float64     `json:"max"`
	Left        int         `json:"left" doc:"partitions left out: the 500 with the largest backlog are shown"`
}

// GroupRow is one consumer group on one destination, over all pipelines.
type GroupRow struct {
	ID          string `json:"id" doc:"system~cluster~destination~group"`
	System      string `json:"system"`
	Cluster     string `json:"cluster"`
	Destination string `json:"destination"`
	Group       string `json:"group"`
	Pipeline    string `json:"pipeline"`
	Stage       string `json:"stage"`
	State       State  `json:"state"`
	GroupState  string `json:"group_state"`
	Members     *int   `json:"members"`
	Partitions  int    `json:"partitions"`
	Lag         Lag    `json:"lag"`
	Note        string `json:"note" doc:"never committed, reads only some records …"`
}

// Groups answers GET /api/v1/groups: searched, sorted and cut on the server.
type Groups struct {
	At     int64          `json:"at"`
	Total  int            `json:"total" doc:"groups that match"`
	Groups []GroupRow     `json:"groups"`
	Counts map[string]int `json:"counts" doc:"number of all groups by state"`
}
