package answer

// Span is a forecast in seconds with its 80 % interval. A null end means that this end never comes.
type Span struct {
	Value *float64 `json:"value" doc:"seconds; null = never"`
	Low   *float64 `json:"low" doc:"soonest, seconds; null = never"`
	High  *float64 `json:"high" doc:"latest, seconds; null = never"`
}

// Forecast is what happens next to one group on one destination, at the present rates. The figures are those of
// the worst partition: a sum over partitions would promise a time that a hot partition never keeps.
type Forecast struct {
	Destination string   `json:"destination"`
	Group       string   `json:"group"`
	Stage       string   `json:"stage"`
	Drain       *Span    `json:"drain" doc:"until the backlog is gone; null = nothing waits, or not known"`
	LossIn      *Span    `json:"loss_in" doc:"until retention deletes unread records; null = no retention, nothing waits, or not known"`
	LossBy      string   `json:"loss_by" doc:"which limit deletes first" enum:"age,size,count,"`
	Retention   *float64 `json:"retention" doc:"seconds a record is kept, by age; null = no such limit"`
	Speed       *float64 `json:"speed" doc:"event time read per second; above 1 the group catches up"`
	Partition   string   `json:"partition" doc:"the partition that decides"`
	Skew        *float64 `json:"skew" doc:"largest inflow of a partition over the mean; 1 is even"`
	Partitions  int      `json:"partitions"`
	Consumers   *int     `json:"consumers" doc:"members of the group, where the broker tells"`
	PerConsumer *float64 `json:"per_consumer" doc:"records per second one consumer takes when it has work"`
}

// WhatIf answers GET /api/v1/pipelines/{id}/whatif: the forecast as it is and as it would be.
type WhatIf struct {
	Base      Forecast         `json:"base"`
	Changed   Forecast         `json:"changed"`
	Sentence  string           `json:"sentence" doc:"what the change brings, in one sentence"`
	Curve     []WhatIfPoint    `json:"curve" doc:"the backlog over the next hours, as it is and as it would be"`
	Each      []WhatIfPartials `json:"each" doc:"by partition, worst first"`
	Consumers []WhatIfOption   `json:"consumers" doc:"the drain for other numbers of consumers"`
}

// WhatIfPoint is the backlog in records some seconds from now.
type WhatIfPoint struct {
	In      float64 `json:"in" doc:"seconds from now"`
	Base    float64 `json:"base"`
	Changed float64 `json:"changed"`
}

// WhatIfPartials is one partition in a what-if.
type WhatIfPartials struct {
	Partition string   `json:"partition"`
	Lag       float64  `json:"lag" doc:"records"`
	In        float64  `json:"in" doc:"records per second"`
	Base      *float64 `json:"base" doc:"drain, seconds; null = never"`
	Changed   *float64 `json:"changed" doc:"drain, seconds; null = never"`
}

// WhatIfOption is the drain with another number of consumers.
type WhatIfOption struct {
	Consumers int      `json:"consumers"`
	Drain     *float64 `json:"drain" doc:"seconds; null = never"`
}

// Cause says why a stage is stuck or late, and what changed before.
type Cause struct {
	Stage    string   `json:"stage"`
	Class    string   `json:"class" enum:"skew,poison,stopped,rebalancing,throttled,saturated,dependency,surge,deploy,slow,stalled,draining,late" doc:"what kind of cause"`
	Sentence string   `json:"sentence"`
	Since    int64    `json:"since" doc:"Unix ms of the change point; 0 = not known"`
	Before   *Change  `json:"before" doc:"the change just before it began"`
	Facts    []string `json:"facts" doc:"the figures it rests on, one sentence each"`
}

// PathLatency is how long records take from their origin to a stage, from merged sketches; never the sum of stage percentiles.
type PathLatency struct {
	Stage       string  `json:"stage"`
	Destination string  `json:"destination" doc:"what was read; empty = the stage as a whole"`
	Count       int64   `json:"count"`
	P50         float64 `json:"p50" doc:"seconds"`
	P90         float64 `json:"p90"`
	P95         float64 `json:"p95"`
	P99         float64 `json:"p99"`
	Max         float64 `json:"max"`
	Clamped     int64   `json:"clamped" doc:"negative latencies counted as 0: clocks differ"`
	Skew        float64 `json:"skew" doc:"seconds by which clocks differ at least; 0 = not seen"`
}
