// Package answer holds the types of weir's own JSON answers, one per page of the UI.
//
// Values come from query/pipeline (which computes them with query/flow), go through query/api,
// and reach the UI as types generated from the OpenAPI document. Units: seconds, records,
// records per second, Unix milliseconds for times. A nil pointer means not known, never zero.
package answer

// State is the state of a pipeline, stage or edge. Unknown is never shown as OK.
type State string

// States, worst first.
const (
	Losing   State = "LOSING"
	Late     State = "LATE"
	Unknown  State = "UNKNOWN"
	Draining State = "DRAINING"
	OK       State = "OK"
	Idle     State = "IDLE"
)

// Completeness tells how much of the expected telemetry arrived, on every answer.
type Completeness struct {
	Share   *float64 `json:"share" doc:"0..1; null when nothing is expected yet"`
	Missing []string `json:"missing" doc:"what is missing, one sentence each"`
}

// Lag of a group on a destination.
type Lag struct {
	Messages *float64 `json:"messages" doc:"end offset minus committed"`
	Seconds  *float64 `json:"seconds" doc:"age of the oldest unread record; 0 when there is none"`
	Bound    *float64 `json:"bound" doc:"the stated error of seconds, plus or minus; null beside known seconds: at least so much"`
	Trend    string   `json:"trend" enum:"growing,steady,draining,unknown"`
	// Drain is null when nothing is to drain or it is not known; see DrainNever.
	Drain      *float64  `json:"drain" doc:"seconds until the backlog is gone at the present rates"`
	DrainNever bool      `json:"drain_never"`
	History    []float64 `json:"history" doc:"lag in seconds, oldest first, evenly spaced over the last hour; -1 = not known"`
	At         int64     `json:"at,omitempty" doc:"Unix ms of the poll that it rests on; only on the pages of one pipeline and its stages"`
}

// PipelineRow is one line of the pipelines table.
type PipelineRow struct {
	ID        string   `json:"id"`
	State     State    `json:"state"`
	Since     int64    `json:"since" doc:"Unix ms of the last change of state"`
	Late      bool     `json:"late" doc:"later than its objectives allow, also where its state says something worse"`
	Sentence  string   `json:"sentence" doc:"what is wrong, where; empty when nothing is"`
	LateWhy   string   `json:"late_why,omitempty" doc:"of one that is late beside something worse: what holds it up, also the end of its sentence"`
	Freshness *float64 `json:"freshness" doc:"age of the newest data at the sink, seconds"`
	Slowest   string   `json:"slowest" doc:"stage with the largest lag"`
	Lag       Lag      `json:"lag"`
	In        *float64 `json:"in" doc:"records per second from the sources"`
	Out       *float64 `json:"out" doc:"records per second at the sinks"`
	Lost24h   int64    `json:"lost_24h"`
	LostBound int64    `json:"lost_bound" doc:"records whose fate is unknown in the last 24 h"`
	Level     string   `json:"level" doc:"best evidence: L0, L1, L2, L3, T"`
	LossIn    *float64 `json:"loss_in" doc:"seconds until retention deletes unread records, worst group; null = not in sight or not known"`
	Declared  bool     `json:"declared" doc:"somebody declared it; else weir found it"`
}

// Pipelines answers GET /api/v1/pipelines.
type Pipelines struct {
	At           int64          `json:"at"`
	Pipelines    []PipelineRow  `json:"pipelines"`
	Counts       map[string]int `json:"counts" doc:"number of pipelines by state"`
	Completeness Completeness   `json:"completeness"`
}

// Node of the map: a stage or a queue.
type Node struct {
	ID        string   `json:"id"`
	Kind      string   `json:"kind" enum:"source,stage,queue,sink"`
	Name      string   `json:"name"`
	State     State    `json:"state"`
	Stuck     bool     `json:"stuck" doc:"the one node that holds the data up"`
	Detail    string   `json:"detail" doc:"short text inside the node: 3 instances, 3m 50s waiting"`
	Age       *float64 `json:"age" doc:"age of the data at this hop, seconds"`
	Instances int      `json:"instances"`
	In        *float64 `json:"in"`
	Out       *float64 `json:"out"`
	Busy      *float64 `json:"busy" doc:"0..1 share of the time the stage works, where spans tell"`
	CPU       *float64 `json:"cpu" doc:"cores used, where cgroup or /proc tell"`
	Throttled *float64 `json:"throttled" doc:"0..1 share of periods throttled"`
	Lost      int64    `json:"lost" doc:"records lost inside the stage, last 24 h"`
	System    string   `json:"system" doc:"of a queue: nats, kafka"`
}

// Edge of the map, from node to node.
type Edge struct {
	ID    string   `json:"id"`
	From  string   `json:"from"`
	To    string   `json:"to"`
	State State    `json:"state"`
	Rate  *float64 `json:"rate" doc:"records per second"`
	Lag   *Lag     `json:"lag" doc:"only from a queue to its reader"`
	Group string   `json:"group"`
	Lost  int64    `json:"lost" doc:"records lost on this edge, last 24 h"`
}

// Change is a deploy, restart or injected fault near the time shown.
type Change struct {
	At   int64  `json:"at"`
	Text string `json:"text"`
	Kind string `json:"kind" doc:"state, collector, instance, deploy, config, note …"`
}

// StageRow is one line of the Stages tab: the balance of a stage over the settled windows of the last hour.
type StageRow struct {
	Stage     string   `json:"stage"`
	State     State    `json:"state"`
	Instances []string `json:"instances"`
	In        int64    `json:"in"`
	Out       int64    `json:"out"`
	Filtered  int64    `json:"filtered"`
	DLQ       int64    `json:"dlq"`
	Dropped   int64    `json:"dropped"`
	Lost      int64    `json:"lost"`
	Surplus   int64    `json:"surplus"`
	P50       *float64 `json:"p50" doc:"processing time from spans, seconds"`
	P99       *float64 `json:"p99"`
	RateIn    *float64 `json:"rate_in"`
	RateOut   *float64 `json:"rate_out"`
	Bytes     int64    `json:"bytes" doc:"put out, where it is counted"`
	Amplify   *float64 `json:"amplify" doc:"out / in, records"`
	Busy      *float64 `json:"busy" doc:"0..1"`
	Pressure  *float64 `json:"pressure" doc:"0..1 share of the time its output was blocked"`
	Watermark *float64 `json:"watermark" doc:"how far its watermark is behind now, seconds"`
	Services  []string `json:"services" doc:"service names of its instances, for traces"`
	Version   string   `json:"version" doc:"newest version seen; several joined by a comma"`
}

// PartitionRow is one partition of a destination as one group reads it.
type PartitionRow struct {
	ID          string   `json:"id" doc:"destination~partition~group"`
	System      string   `json:"system"`
	Destination string   `json:"destination"`
	Partition   string   `json:"partition"`
	Group       string   `json:"group"`
	Start       *float64 `json:"start"`
	End         *float64 `json:"end"`
	Committed   *float64 `json:"committed"`
	Pending     *float64 `json:"pending" doc:"delivered, not yet acknowledged"`
	Redelivered *float64 `json:"redelivered"`
	Lag         Lag      `json:"lag"`
	State       State    `json:"state"`
}

// Pipeline answers GET /api/v1/pipelines/{id}.
type Pipeline struct {
	PipelineRow
	At           int64          `json:"at"`
	Nodes        []Node         `json:"nodes"`
	Edges        []Edge         `json:"edges"`
	Stages       []StageRow     `json:"stages"`
	Partitions   []PartitionRow `json:"partitions"`
	Changes      []Change       `json:"changes"`
	Cause        *Cause         `json:"cause" doc:"why it is late; null = it is not, or nobody knows"`
	Forecasts    []Forecast     `json:"forecasts" doc:"worst first"`
	Latency      []PathLatency  `json:"latency" doc:"from the origin to each stage, last hour"`
	Watermark    *float64       `json:"watermark" doc:"the furthest behind of its stages, seconds"`
	Evidence     string         `json:"evidence" doc:"what the sentence rests on: offsets, 12,400 spans, cells"`
	Completeness Completeness   `json:"completeness"`
}

// Point is a value at a time.
type Point struct {
	T int64    `json:"t" doc:"Unix ms"`
	V *float64 `json:"v"`
}

// Series is a named line of a chart.
type Series struct {
	Name   string  `json:"name"`
	Unit   string  `json:"unit"`
	Points []Point `json:"points"`
}

// PipelineHistory answers GET /api/v1/pipelines/{id}/history: lag per group, in, out, freshness.
type PipelineHistory struct {
	From   int64    `json:"from"`
	To     int64    `json:"to"`
	Step   int64    `json:"step" doc:"ms"`
	Series []Series `json:"series"`
}

// RibbonCell is one event window of the loss ribbon.
type RibbonCell struct {
	Window int64  `json:"window" doc:"Unix s"`
	State  string `json:"state" doc:"verdict: OK, IN_FLIGHT, LATE, LOSS, DUPLICATES, MIXED, UNKNOWN …; empty = no data"`
	Lost   int64  `json:"lost"`
}

// LossRow is one edge or stage in the loss ledger with everything found in the range.
type LossRow struct {
	ID         string       `json:"id"`
	Pipeline   string       `json:"pipeline"`
	Kind       string       `json:"kind" enum:"transport,balance"`
	Where      string       `json:"where" doc:"enrich, or producer → orders → enrich"`
	Verdict    string       `json:"verdict" doc:"worst verdict in the range"`
	Since      *int64       `json:"since" doc:"Unix s of the first window of the latest run of loss; where nothing is lost, of the latest run of its verdict"`
	Still      bool         `json:"still" doc:"the newest settled window still loses"`
	Lost       int64        `json:"lost"`
	Bound      int64        `json:"bound" doc:"records whose fate is unknown"`
	Surplus    int64        `json:"surplus"`
	Up         int64        `json:"up"`
	Down       int64        `json:"down"`
	Share      *float64     `json:"share" doc:"lost / up over the windows that lost"`
	Class      string       `json:"class"`
	Level      string       `json:"level"`
	Confidence float64      `json:"confidence"`
	Ribbon     []RibbonCell `json:"ribbon"`
	Incident   string       `json:"incident" doc:"id of its latest incident of the last day; empty = none"`
}

// Loss answers GET /api/v1/loss.
type Loss struct {
	At           int64        `json:"at"`
	From         int64        `json:"from"`
	To           int64        `json:"to"`
	Rows         []LossRow    `json:"rows" doc:"worst first"`
	Left         int          `json:"left" doc:"rows found and left out: the 500 worst are shown; search, or ask for one pipeline, to see others"`
	Found        LossCounts   `json:"found" doc:"of the rows that the words of the search are found in"`
	Watched      int          `json:"watched" doc:"edges and stages in the range, whatever was searched"`
	Lost         int64        `json:"lost" doc:"records lost in all of them"`
	Completeness Completeness `json:"completeness"`
}

// LossCounts are the rows of a search by their worst verdict.
type LossCounts struct {
	All     int `json:"all"`
	Loss    int `json:"loss"`
	Unknown int `json:"unknown"`
}

// LossDetail answers GET /api/v1/loss/{id}: the balance of one window, or of the whole range, and why we say so.
type LossDetail struct {
	Row      LossRow      `json:"row"`
	Windows  []LossWindow `json:"windows" doc:"newest first"`
	Reasons  []string     `json:"reasons"`
	Examples []string     `json:"examples" doc:"message or trace ids"`
}

// LossWindow is the balance of one event window.
type LossWindow struct {
	Window     int64   `json:"window"`
	Width      int64   `json:"width"`
	Verdict    string  `json:"verdict"`
	Settled    bool    `json:"settled"`
	SettledAt  int64   `json:"settled_at"`
	Up         int64   `json:"up"`
	Down       int64   `json:"down"`
	Filtered   int64   `json:"filtered"`
	DLQ        int64   `json:"dlq"`
	Dropped    int64   `json:"dropped"`
	InFlight   int64   `json:"in_flight"`
	Lost       int64   `json:"lost"`
	Surplus    int64   `json:"surplus"`
	Epsilon    int64   `json:"epsilon"`
	Revision   int     `json:"revision"`
	Confidence float64 `json:"confidence"`
	// Of a row's detail only, and of its 100 newest windows in which something is wrong.
	Why *WindowWhy `json:"why,omitempty" doc:"what this window's verdict rests on; left out where nothing is wrong"`
}

// WindowWhy is what the verdict of one window rests on.
type WindowWhy struct {
	Class    string   `json:"class"`
	Level    string   `json:"level"`
	Reasons  []string `json:"reasons"`
	Examples []string `json:"examples" doc:"message or trace ids"`
}

// Now answers GET /api/v1/now.
type Now struct {
	At           int64         `json:"at"`
	State        State         `json:"state"`
	Sentence     string        `json:"sentence" doc:"is anything wrong, what first"`
	Worst        []PipelineRow `json:"worst"`
	Losses       []LossRow     `json:"losses"`
	Changes      []Change      `json:"changes"`
	Completeness Completeness  `json:"completeness"`
}

// TraceRow is one line of the trace search.
type TraceRow struct {
	ID       string   `json:"id"`
	Service  string   `json:"service"`
	Name     string   `json:"name"`
	Start    int64    `json:"start" doc:"Unix ms"`
	Duration float64  `json:"duration" doc:"seconds"`
	Spans    int      `json:"spans"`
	Errors   int      `json:"errors"`
	Services []string `json:"services"`
}

// Traces answers GET /api/v1/traces.
type Traces struct {
	Traces []TraceRow `json:"traces"`
}

// SpanRow is one row of the waterfall.
type SpanRow struct {
	ID        string            `json:"id"`
	Parent    string            `json:"parent" doc:"empty for a root"`
	Trace     string            `json:"trace"`
	Service   string            `json:"service"`
	Node      string            `json:"node"`
	Container string            `json:"container"`
	Name      string            `json:"name"`
	Kind      string            `json:"kind"`
	Status    string            `json:"status"`
	Start     float64           `json:"start" doc:"seconds after the start of the trace"`
	Duration  float64           `json:"duration" doc:"seconds"`
	Wait      float64           `json:"wait" doc:"seconds spent in a queue before this span began"`
	Depth     int               `json:"depth"`
	Links     []string          `json:"links" doc:"span ids"`
	Attrs     map[string]string `json:"attrs"`
	Events    []SpanEvent       `json:"events"`
}

// SpanEvent of a span.
type SpanEvent struct {
	At    float64           `json:"at" doc:"seconds after the start of the trace"`
	Name  string            `json:"name"`
	Attrs map[string]string `json:"attrs"`
}

// Trace answers GET /api/v1/traces/{id}; spans in the order of the waterfall.
type Trace struct {
	ID       string    `json:"id"`
	Start    int64     `json:"start" doc:"Unix ms"`
	Duration float64   `json:"duration"`
	Services []string  `json:"services"`
	Spans    []SpanRow `json:"spans"`

	Orphans   int `json:"orphans,omitempty" doc:"spans whose parent is not there; they stand as roots"`
	Skewed    int `json:"skewed,omitempty" doc:"spans moved right because they began before their parent: clocks differ"`
	Linked    int `json:"linked,omitempty" doc:"spans of other traces among spans, to which consumers here link"`
	Truncated int `json:"truncated,omitempty" doc:"spans left out because the trace has more than an answer holds"`
}

// DropRow is a reason with a count.
type DropRow struct {
	Reason string  `json:"reason"`
	Count  float64 `json:"count"`
}

// DoorRow is one door of a collector or of the server: received = stored + spooled + dropped.
type DoorRow struct {
	Node     string    `json:"node"`
	Part     string    `json:"part" enum:"collector,spool,ingest"`
	Door     string    `json:"door"`
	Unit     string    `json:"unit"`
	Received float64   `json:"received"`
	Stored   float64   `json:"stored" doc:"passed on: to the spool for a collector's door, to the server for a spool, to disk for ingest"`
	Spooled  float64   `json:"spooled" doc:"on disk, waiting"`
	Dropped  []DropRow `json:"dropped"`
	Balanced bool      `json:"balanced"`
	Diff     float64   `json:"diff" doc:"received - stored - spooled - dropped"`
	Rate     *float64  `json:"rate" doc:"received per second, last minute"`
}

// CollectorRow is one collector as the server sees it.
type CollectorRow struct {
	Node     string `json:"node"`
	State    State  `json:"state"`
	LastSeen int64  `json:"last_seen"`
	Epoch    int64  `json:"epoch"`
	Gaps     int64  `json:"gaps" doc:"sequence numbers that never arrived"`
	Version  string `json:"version"`
}

// StoreRow is a figure about the storage engine.
type StoreRow struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

// Self answers GET /api/v1/self: weir's own ledger.
type Self struct {
	At         int64          `json:"at"`
	Balanced   bool           `json:"balanced"`
	Doors      []DoorRow      `json:"doors"`
	Collectors []CollectorRow `json:"collectors"`
	Store      []StoreRow     `json:"store"`
	Version    string         `json:"version"`
}

// Alert is one instance of a rule for one pipeline.
type Alert struct {
	ID       string `json:"id"`
	Rule     string `json:"rule" doc:"late or losing"`
	Pipeline string `json:"pipeline"`
	Stage    string `json:"stage"`
	State    string `json:"state" enum:"pending,firing,resolved"`
	Severity string `json:"severity" enum:"warning,critical"`
	Summary  string `json:"summary"`
	Since    int64  `json:"since" doc:"Unix ms"`
	FiredAt  int64  `json:"fired_at" doc:"Unix ms, 0 while pending"`
	EndedAt  int64  `json:"ended_at"`
	Notified string `json:"notified" doc:"sent, failed: …, none configured"`
}

// Alerts answers GET /api/v1/alerts-list.
type Alerts struct {
	At     int64   `json:"at"`
	Alerts []Alert `json:"alerts" doc:"firing first, then pending, then resolved in the last hour"`
}
