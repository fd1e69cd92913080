package answer

// Incident is a run of event windows in which one edge or stage lost records, or in which their fate is not known.
// Its id stays the same while it goes on and after a restart: the edge and the first window.
type Incident struct {
	ID       string       `json:"id"`
	Row      LossRow      `json:"row" doc:"its edge or stage over the time of the incident"`
	Pipeline string       `json:"pipeline"`
	Stage    string       `json:"stage" doc:"where to look first"`
	From     int64        `json:"from" doc:"Unix s, start of the first window"`
	To       int64        `json:"to" doc:"Unix s, end of the last window"`
	Still    bool         `json:"still" doc:"the newest settled window still loses"`
	Windows  int          `json:"windows" doc:"windows concerned"`
	Lost     int64        `json:"lost"`
	Bound    int64        `json:"bound" doc:"records whose fate is not known"`
	Share    *float64     `json:"share" doc:"lost / up over its windows"`
	Class    string       `json:"class"`
	Verdict  string       `json:"verdict"`
	Level    string       `json:"level"`
	Revised  int          `json:"revised" doc:"windows whose verdict was changed after it was first told"`
	Sentence string       `json:"sentence"`
	Now      Completeness `json:"completeness"`
}

// Incidents answers GET /api/v1/incidents, newest first.
type Incidents struct {
	At        int64      `json:"at"`
	From      int64      `json:"from"`
	To        int64      `json:"to"`
	Incidents []Incident `json:"incidents"`
	Left      int        `json:"left" doc:"incidents left out by the limit"`
}

// IncidentDetail answers GET /api/v1/incidents/{id}: everything that proves it and what may have caused it.
type IncidentDetail struct {
	Incident
	Balances []LossWindow `json:"balances" doc:"newest first"`
	Reasons  []string     `json:"reasons"`
	Examples []string     `json:"examples" doc:"message ids"`
	Traces   []TraceRow   `json:"traces" doc:"traces of the time and place, those of lost messages first"`
	Changes  []Change     `json:"changes" doc:"around its begin"`
	Around   []LossRow    `json:"around" doc:"the other edges of the pipeline over the same time: where nothing was lost"`
	Query    string       `json:"query" doc:"PromQL that draws it"`
}

// Annotation is something that happened, told by a person or a deploy script, or seen by weir.
type Annotation struct {
	ID       string            `json:"id"`
	At       int64             `json:"at" doc:"Unix ms"`
	Until    int64             `json:"until" doc:"Unix ms; 0 = a moment"`
	Kind     string            `json:"kind" doc:"deploy, config, incident, note … free"`
	Text     string            `json:"text"`
	Pipeline string            `json:"pipeline" doc:"empty = all"`
	Service  string            `json:"service" doc:"empty = all"`
	By       string            `json:"by"`
	Tags     map[string]string `json:"tags"`
	Seen     bool              `json:"seen" doc:"found by weir from versions, not told"`
}

// Annotations answers GET /api/v1/annotations, newest first.
type Annotations struct {
	Annotations []Annotation `json:"annotations"`
}
